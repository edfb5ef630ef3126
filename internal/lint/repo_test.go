package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// The rules, on this repository. One test for each, so that a failure's name
// says which rule it was.

func TestImportsGoToALowerFloor(t *testing.T) { report(t, Floors(sources(t))) }

func TestUnsafeAndSystemCallsStayInTheirRooms(t *testing.T) { report(t, Owners(sources(t))) }

func TestFilesAreFormatted(t *testing.T) { report(t, Gofmt(sources(t))) }

func TestFilesAndFunctionsAreShort(t *testing.T) { report(t, Long(sources(t))) }

func TestSkipsSayWhy(t *testing.T) { report(t, Skips(sources(t))) }

func TestExportedNamesAreDocumented(t *testing.T) { report(t, Documented(sources(t))) }

func TestNoUnfinishedMarks(t *testing.T) { report(t, Marks(tree(t))) }

func TestSpelling(t *testing.T) { report(t, Spelling(tree(t))) }

func TestNoTrailingWhitespace(t *testing.T) { report(t, Whitespace(tree(t))) }

func TestNoPathsOfOneMachine(t *testing.T) { report(t, Paths(tree(t))) }

func TestLinksLeadSomewhere(t *testing.T) { report(t, Links(tree(t))) }

func TestFilesThatReadersLookForExist(t *testing.T) { report(t, Present(tree(t))) }

func TestVet(t *testing.T) {
	run(t, "correct what vet says", nil, "vet", "./...")
}

func TestVetWithInvariants(t *testing.T) {
	run(t, "correct what vet says of the build with -tags invariants", nil, "vet", "-tags=invariants", "./...")
}

func TestVetForArm64(t *testing.T) {
	run(t, "it must build for arm64 too: correct what vet says",
		[]string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}, "vet", "./...")
}

func TestBuildForAmd64WithoutCgo(t *testing.T) {
	run(t, "it must build for amd64 with CGO_ENABLED=0",
		[]string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"},
		"build", "-buildvcs=false", "-o", os.DevNull, "./...")
}

func TestStaticcheck(t *testing.T) {
	run(t, "correct what staticcheck says; staticcheck -explain CODE tells why", nil,
		"tool", "staticcheck", "./...")
}

func TestStaticcheckWithInvariants(t *testing.T) {
	run(t, "correct what staticcheck says of the build with -tags invariants", nil,
		"tool", "staticcheck", "-tags=invariants", "./...")
}

func TestModuleFileIsTidy(t *testing.T) {
	run(t, "run go mod tidy and commit go.mod and go.sum", nil, "mod", "tidy", "-diff")
}

func report(t *testing.T, findings []Finding) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

func tree(t *testing.T) Tree {
	t.Helper()
	files, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files["go.mod"]) == 0 {
		t.Fatalf("no go.mod among the %d files below %s", len(files), root)
	}
	return files
}

func sources(t *testing.T) []Source {
	t.Helper()
	found, bad := tree(t).Go()
	report(t, bad)
	return found
}

// run runs the go command at the root of the repository.
func run(t *testing.T, advice string, env []string, args ...string) {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s go %s: %v\n%s\n%s", strings.Join(env, " "), strings.Join(args, " "), err, out, advice)
	}
}
