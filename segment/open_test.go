package segment

import "testing"

func TestOpenByNameSmoke(t *testing.T) {
	o := &Options{Dir: t.TempDir(), Size: minSize}
	for range 2 {
		s, err := Open("a/b", o)
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.Join("x")
		if err != nil {
			t.Fatal(err)
		}
		a, _, err := n.Create(t.Context(), lane, 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		copy(a.Bytes(), "hello")
		if err := n.Leave(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
