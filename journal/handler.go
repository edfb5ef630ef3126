package journal

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Handler is a slog.Handler that writes JSON, as slog.NewJSONHandler does, and
// puts the level into the record as well: readers filter by it, and what the
// journal's shared filter silences costs the logger one load, and no
// formatting.
type Handler struct {
	w       *Writer
	options slog.HandlerOptions
	enabled slog.Handler // asked for nothing but that

	// With attributes or a group: how it is made of the one before.
	before *Handler
	with   func(slog.Handler) slog.Handler

	// The handlers for JSON. Each level has its own, which writes to a sink for
	// that level: nothing else leads from the bytes back to their record, but a
	// lock around the formatting, under which nobody could log.
	usual  [4]atomic.Pointer[slog.Handler] // debug, info, warn, error
	others sync.Map                        // slog.Level to slog.Handler
}

// NewHandler makes a handler that appends to w; o is as for slog's handlers.
func NewHandler(w *Writer, o *slog.HandlerOptions) *Handler {
	if o == nil {
		o = &slog.HandlerOptions{}
	}
	return &Handler{w: w, options: *o, enabled: slog.NewJSONHandler(io.Discard, o)}
}

// Enabled reports whether the handler's level and the journal's filter let
// records of this level pass.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.w.Enabled(level) && h.enabled.Enabled(ctx, level)
}

// Handle appends the record.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	return h.at(r.Level).Handle(ctx, r)
}

// at returns the handler for JSON of records of the given level, and makes it
// where it is the first such record.
func (h *Handler) at(level slog.Level) slog.Handler {
	i := int(level-slog.LevelDebug) / 4
	usual := i >= 0 && i < len(h.usual) && level == slog.LevelDebug+slog.Level(4*i)
	if usual {
		if j := h.usual[i].Load(); j != nil {
			return *j
		}
	} else if j, ok := h.others.Load(level); ok {
		return j.(slog.Handler)
	}
	var j slog.Handler
	if h.before == nil {
		j = slog.NewJSONHandler(&sink{h.w, narrow(level)}, &h.options)
	} else {
		j = h.with(h.before.at(level))
	}
	if usual {
		h.usual[i].Store(&j)
	} else {
		h.others.Store(level, j)
	}
	return j
}

// sink is an io.Writer of records of one level.
type sink struct {
	w     *Writer
	level int16
}

func (s *sink) Write(p []byte) (int, error) {
	if _, err := s.w.put(context.Background(), p, s.level, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WithAttrs returns a handler whose records have these attributes as well. What
// can change is formatted now, as slog's handlers do; a level that is not one of
// slog's four, and that the handler did not meet before, comes later.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := h.and(func(j slog.Handler) slog.Handler { return j.WithAttrs(attrs) })
	if h.options.ReplaceAttr == nil && fixed(attrs) {
		return n
	}
	for i := range n.usual {
		n.at(slog.LevelDebug + slog.Level(4*i))
	}
	h.others.Range(func(level, _ any) bool {
		n.at(level.(slog.Level))
		return true
	})
	return n
}

// fixed reports whether nothing can change the attributes' values.
func fixed(attrs []slog.Attr) bool {
	for _, a := range attrs {
		switch a.Value.Kind() {
		case slog.KindAny, slog.KindLogValuer:
			return false
		case slog.KindGroup:
			if !fixed(a.Value.Group()) {
				return false
			}
		}
	}
	return true
}

// WithGroup returns a handler whose records' further attributes are in a group
// of that name.
func (h *Handler) WithGroup(name string) slog.Handler {
	return h.and(func(j slog.Handler) slog.Handler { return j.WithGroup(name) })
}

func (h *Handler) and(with func(slog.Handler) slog.Handler) *Handler {
	return &Handler{w: h.w, options: h.options, enabled: h.enabled, before: h, with: with}
}
