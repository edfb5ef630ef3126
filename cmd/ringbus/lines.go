package main

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// liner cuts what it is given into lines.
type liner struct {
	limit  int // bytes of a line; a longer one comes in pieces
	inside bool
	take   func(line []byte, more bool) error // more: the line goes on
}

// eachLine calls take with each line of r, without its newline; what r had
// before an error is taken too.
func eachLine(r io.Reader, limit int, take func(line []byte, more bool) error) error {
	l := &liner{limit: limit, take: take}
	buf := make([]byte, 64<<10)
	for end := 0; ; {
		n, rerr := r.Read(buf[end:])
		rest, err := l.lines(buf[:end+n], rerr != nil)
		switch {
		case err != nil:
			return err
		case rerr == io.EOF:
			return nil
		case rerr != nil:
			return rerr
		}
		if end = copy(buf, rest); end > len(buf)/2 {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// lines takes the lines of b and returns what may be the beginning of one; last
// says that it is one, though without a newline.
func (l *liner) lines(b []byte, last bool) (rest []byte, err error) {
	for len(b) > 0 && err == nil {
		i := bytes.IndexByte(b, '\n')
		switch {
		case i > l.limit || i < 0 && len(b) > l.limit:
			i = cut(b, l.limit)
			err = l.take(b[:i], true)
			l.inside = true
			b = b[i:]
			continue
		case i < 0 && !last:
			return b, nil
		case i < 0:
			i = len(b)
		}
		if i > 0 || !l.inside { // not an empty last piece
			err = l.take(b[:i], false)
		}
		l.inside = false
		b = b[min(i+1, len(b)):]
	}
	return nil, err
}

// cut is where to cut b, which is longer than limit: between two characters, if
// it has some.
func cut(b []byte, limit int) int {
	for i := limit; i > limit-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return limit
}
