package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ringbus/ringbus/journal"
)

// record is a record of a journal as JSON.
type record struct {
	Position  uint64     `json:"position"`
	Sequence  uint64     `json:"sequence"`
	Time      *time.Time `json:"time,omitempty"`
	Level     string     `json:"level"`
	Writer    string     `json:"writer"`
	Key       string     `json:"key"`
	Length    int        `json:"length"`
	Data      *string    `json:"data,omitempty"`
	Base64    *string    `json:"data_base64,omitempty"`
	Lost      uint64     `json:"lost"` // before it, as what follows
	LostBytes uint64     `json:"lost_bytes,omitempty"`
	Tombs     uint64     `json:"tombs,omitempty"`
	Holes     uint64     `json:"holes,omitempty"`
	Corrupt   uint64     `json:"corrupt,omitempty"`
}

func writeRecord(w *bufio.Writer, r journal.Record) error {
	o := record{
		Position: r.Position, Sequence: r.Sequence, Level: r.Level.String(), Writer: r.Writer, Key: r.Key, Length: len(r.Data),
		Lost: r.Lost, LostBytes: r.LostBytes, Tombs: r.Tombs, Holes: r.Holes, Corrupt: r.Corrupt,
	}
	if !r.Time.IsZero() {
		o.Time = &r.Time
	}
	text := string(r.Data)
	if utf8.ValidString(text) {
		o.Data = &text
	} else {
		text = base64.StdEncoding.EncodeToString(r.Data)
		o.Base64 = &text
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(o)
}

func writeData(w *bufio.Writer, r journal.Record) error {
	_, err := w.Write(r.Data)
	return err
}

// printer returns what prints records in the shape that the flags ask for; tty
// says that it goes to a terminal.
func (t *tailFlags) printer(asJSON, tty bool) func(*bufio.Writer, journal.Record) error {
	switch {
	case t.raw:
		return writeData
	case t.data && tty:
		return writeSafely
	case t.data:
		return writeText
	case asJSON:
		return writeRecord
	}
	return (&style{color: tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", safe: tty}).line
}

// writeSafely is writeText for terminals.
func writeSafely(w *bufio.Writer, r journal.Record) error {
	r.Data = []byte(harmless(string(r.Data)))
	return writeText(w, r)
}

// writeText ends the data with a newline, unless it has one.
func writeText(w *bufio.Writer, r journal.Record) error {
	_, err := w.Write(r.Data)
	if n := len(r.Data); err == nil && (n == 0 || r.Data[n-1] != '\n') {
		err = w.WriteByte('\n')
	}
	return err
}

// style is how records are printed for people.
type style struct {
	color bool
	safe  bool // control characters must not reach the terminal
}

const (
	plain  = "\x1b[0m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
)

// line prints a record on a line, and the further lines of its data indented,
// so that none passes for a record.
func (s *style) line(w *bufio.Writer, r journal.Record) error {
	at := "-"
	if !r.Time.IsZero() {
		at = r.Time.Format("2006-01-02 15:04:05.000000")
	}
	who := quoted(r.Writer)
	if r.Key != "" {
		who += " " + quoted(r.Key)
	}
	tint := ""
	switch {
	case r.Level >= slog.LevelError:
		tint = red
	case r.Level >= slog.LevelWarn:
		tint = yellow
	case r.Level < slog.LevelInfo:
		tint = dim
	}
	text := strings.ReplaceAll(strings.TrimSuffix(string(r.Data), "\n"), "\n", "\n    ")
	if s.safe {
		text = harmless(text)
	}
	_, err := fmt.Fprintf(w, "%s %s %s: %s\n", s.paint(dim, at), s.paint(tint, fmt.Sprintf("%-5s", r.Level)), s.paint(cyan, who), text)
	return err
}

func (s *style) paint(tint, text string) string {
	if !s.color || tint == "" {
		return text
	}
	return tint + text + plain
}

// quoted is text, in quotes if it might be taken for something else.
func quoted(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// harmless is text with what controls terminals replaced, be it their control
// characters, those that turn the direction of writing, or bytes of no UTF-8.
func harmless(text string) string {
	var b strings.Builder
	done := 0 // so far in b
	for i, size := 0, 0; i < len(text); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(text[i:])
		if r == '\n' || r == '\t' || strconv.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			continue
		}
		b.WriteString(text[done:i])
		if done = i + size; size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[i])
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	if done == 0 {
		return text
	}
	return b.String() + text[done:]
}
