package lint

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Floors checks that every package has a floor and that imports go down.
func Floors(sources []Source) []Finding {
	var out []Finding
	homeless := map[string]bool{}
	for _, s := range sources {
		room, ok := RoomOf(s.Dir)
		if !ok {
			if !homeless[s.Dir] {
				homeless[s.Dir] = true
				out = append(out, Finding{s.Path, 0, fmt.Sprintf("package %s has no floor: "+
					"add it to Rooms in internal/lint/floors.go and to ARCHITECTURE.md", s.Dir)})
			}
			continue
		}
		eachImport(s, func(line int, imp string) {
			to, ours := ourDir(imp)
			if !ours || to == s.Dir {
				return
			}
			if why := mayNot(s, room, to); why != "" {
				out = append(out, Finding{s.Path, line, why})
			}
		})
	}
	return sorted(out)
}

func mayNot(s Source, from Room, dir string) string {
	to, ok := RoomOf(dir)
	switch {
	case !ok:
		return fmt.Sprintf("imports %s, which has no floor: add it to Rooms in internal/lint/floors.go", dir)
	case to.Dir == from.Dir && to.Dir != "":
		return "" // within one room
	case to.TestOnly && (s.Test() || from.TestOnly):
		return ""
	case to.TestOnly:
		return fmt.Sprintf("imports %s, which is for test files only: move what you need to the package that owns it", dir)
	case to.Floor >= from.Floor:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d): imports go to a lower floor; "+
			"move the shared part down, or hand it in from above", name(from.Dir), from.Floor, name(to.Dir), to.Floor)
	}
	return ""
}

// Owners checks that unsafe, cgo, system calls and other modules appear only in
// the rooms that own them.
func Owners(sources []Source) []Finding {
	var out []Finding
	for _, s := range sources {
		room, _ := RoomOf(s.Dir)
		eachImport(s, func(line int, imp string) {
			if why := notOwned(s, room, imp); why != "" {
				out = append(out, Finding{s.Path, line, why})
			}
		})
	}
	return sorted(out)
}

func notOwned(s Source, room Room, imp string) string {
	_, ours := ourDir(imp)
	switch {
	case imp == "unsafe":
		base := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.Path), ".go"), "_test")
		if s.Dir != unsafeDir || !strings.HasSuffix(base, "_unsafe") {
			return "imports unsafe: only files of internal/mem named *_unsafe.go may; use or add a typed view there"
		}
	case imp == "C":
		return "imports C: ringbus is pure Go and builds with CGO_ENABLED=0; find another way"
	case imp == "syscall":
		if !room.Syscall && !s.Test() {
			return "imports syscall: put the call into internal/sys and use it from there"
		}
	case strings.HasPrefix(imp, "golang.org/x/sys/"):
		if !room.Unix {
			return "imports " + imp + ": only internal/sys may; put the call there"
		}
	case !ours && strings.Contains(strings.Split(imp, "/")[0], "."):
		if !room.Deps && !s.Test() {
			return "imports " + imp + ": outside tests only cmd/ringbus and bench may use other modules; " +
				"write the few lines, or move the use up"
		}
	}
	return ""
}

func eachImport(s Source, f func(line int, imp string)) {
	for _, spec := range s.File.Imports {
		if imp, err := strconv.Unquote(spec.Path.Value); err == nil {
			f(s.Line(spec.Pos()), imp)
		}
	}
}

// ourDir turns an import path of this module into a directory.
func ourDir(imp string) (string, bool) {
	if imp == Module {
		return "", true
	}
	return strings.CutPrefix(imp, Module+"/")
}

func name(dir string) string {
	if dir == "" {
		return "ringbus"
	}
	return dir
}
