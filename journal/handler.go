package journal

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
)

// Handler is a slog.Handler that writes JSON, as slog.NewJSONHandler does, and
// puts the level into the record as well: readers filter by it, and what the
// journal's shared filter silences costs the logger one load, and no
// formatting.
type Handler struct {
	w    *Writer
	json slog.Handler
	buf  *buffer
}

// buffer is where one record at a time is formatted.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// NewHandler makes a handler that appends to w; o is as for slog's handlers.
func NewHandler(w *Writer, o *slog.HandlerOptions) *Handler {
	buf := new(buffer)
	return &Handler{w, slog.NewJSONHandler(&buf.b, o), buf}
}

// Enabled reports whether the handler's level and the journal's filter let
// records of this level pass.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.w.Enabled(level) && h.json.Enabled(ctx, level)
}

// Handle appends the record.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.buf.mu.Lock()
	defer h.buf.mu.Unlock()
	h.buf.b.Reset()
	if err := h.json.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.w.Append(ctx, h.buf.b.Bytes(), &RecordOptions{Level: r.Level, Key: h.w.key})
	return err
}

// WithAttrs returns a handler whose records have these attributes as well.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.w, h.json.WithAttrs(attrs), h.buf}
}

// WithGroup returns a handler whose records' further attributes are in a group
// of that name.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.w, h.json.WithGroup(name), h.buf}
}
