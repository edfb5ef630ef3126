package typed

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"reflect"
)

// TypeError says that a type cannot live in shared memory, and which of its
// fields is the reason.
type TypeError struct {
	Type  reflect.Type
	Field string // path of the field, empty for the type itself
	Kind  reflect.Kind
	Why   string
}

func (e *TypeError) Error() string {
	where := e.Type.String()
	if e.Field != "" {
		where += "." + e.Field
	}
	return fmt.Sprintf("%s is a %s: %s", where, e.Kind, e.Why)
}

// check refuses a type whose values are not the same bytes for every reader.
func check(root, t reflect.Type, path string) error {
	refuse := func(why string) error {
		return &TypeError{Type: root, Field: path, Kind: t.Kind(), Why: why}
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return nil
	case reflect.Array:
		return check(root, t.Elem(), path+"[]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			p := f.Name
			if path != "" {
				p = path + "." + f.Name
			}
			if err := check(root, f.Type, p); err != nil {
				return err
			}
		}
		return nil
	case reflect.Int, reflect.Uint, reflect.Uintptr:
		return refuse("its size differs between machines; use one with a fixed size, such as int64")
	case reflect.String, reflect.Slice:
		return refuse("it points outside of the message; use an array and a length")
	default:
		return refuse("it holds an address, which means nothing in another process")
	}
}

// fingerprint tells one layout from another: sizes, offsets, kinds and names
// of all fields, not the names of the types. Never 0.
func fingerprint(t reflect.Type) uint64 {
	h := fnv.New64a()
	var walk func(t reflect.Type, offset uintptr)
	walk = func(t reflect.Type, offset uintptr) {
		var b [24]byte
		binary.LittleEndian.PutUint64(b[0:], uint64(offset))
		binary.LittleEndian.PutUint64(b[8:], uint64(t.Size()))
		binary.LittleEndian.PutUint64(b[16:], uint64(t.Kind()))
		h.Write(b[:])
		switch t.Kind() {
		case reflect.Array:
			walk(t.Elem(), 0)
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				h.Write([]byte(f.Name))
				walk(f.Type, offset+f.Offset)
			}
		}
	}
	walk(t, 0)
	return h.Sum64() | 1
}
