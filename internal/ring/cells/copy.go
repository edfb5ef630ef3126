//go:build !race

package cells

func write(to, from []byte) { copy(to, from) }

func read(to, from []byte) { copy(to, from) }
