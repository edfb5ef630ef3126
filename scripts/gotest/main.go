// Command gotest runs go test and reads its JSON: one line for each package,
// the full output of what failed, and every skip with its reason. Beyond go
// test's own verdict it fails when a test was skipped that the allow-list does
// not name, so that a missing tool cannot pass for success.
//
//	gotest [-skips FILE] [-counts FILE] [-report FILE] -- ARGUMENTS OF GO TEST
//
// It appends "passed failed skipped", in numbers, as a line to the counts file,
// and each failed test with the end of what it printed to the report.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	skips := flag.String("skips", "", "file of tests that may skip: package, test, reason")
	counts := flag.String("counts", "", "file to append the counts to")
	report := flag.String("report", "", "file to append the failed tests to")
	flag.Parse()
	hearSignals()
	ok, err := gotest(*skips, *counts, *report, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// hearSignals has the tests find signals as in a terminal: one that is ignored
// here, by nohup or because a script's background jobs ignore SIGINT, would be
// ignored by every program that they start.
func hearSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

func gotest(skips, counts, report string, args []string) (bool, error) {
	allowed, err := readSkips(skips)
	if err != nil {
		return false, err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	sum := summary{out: os.Stdout, allowed: allowed}
	readErr := sum.read(out)
	exit := cmd.Wait()
	if readErr != nil {
		return false, readErr
	}
	if exit != nil && sum.failed == 0 {
		sum.failed++
		fmt.Println("FAIL go test:", exit)
		sum.report = append(sum.report, fmt.Sprintf("go test: %v\n", exit))
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
	return sum.failed == 0, errors.Join(
		add(counts, fmt.Sprintln(sum.passed, sum.failed, sum.skipped)), add(report, strings.Join(sum.report, "")))
}

// readSkips reads lines of "package test reason"; # begins a comment.
func readSkips(name string) (map[string]bool, error) {
	allowed := map[string]bool{}
	if name == "" {
		return allowed, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 3 {
			return nil, fmt.Errorf("%s: %q: want package, test and reason", name, strings.TrimSpace(line))
		}
		allowed[f[0]+" "+f[1]] = true
	}
	return allowed, nil
}

// event is one line of go test -json (go doc test2json, go help buildjson).
type event struct {
	Action, Package, Test, Output, ImportPath string

	Elapsed float64
}

type summary struct {
	out     io.Writer
	allowed map[string]bool // "package test" that may skip

	passed, failed, skipped int

	// Per package: its own counts, and what each of its tests printed.
	packages map[string]*result

	report []string // failed tests, each with the end of what it printed
}

type result struct {
	passed, failed, skipped int
	output                  map[string]*strings.Builder // "" for the package itself
	reported                []string                    // failed tests
}

// reportLines is how many lines of a failed test are repeated in the report.
const reportLines = 30

// tell puts a failed test into the report, unless one of its parts is there.
func (s *summary) tell(p *result, pkg, test string) {
	for _, r := range p.reported {
		if strings.HasPrefix(r, test+"/") {
			return
		}
	}
	p.reported = append(p.reported, test)
	text := fmt.Sprintf("--- %s %s\n", pkg, test)
	if o := p.output[test]; o != nil {
		lines := strings.SplitAfter(strings.TrimSuffix(o.String(), "\n"), "\n")
		if left := len(lines) - reportLines; left > 0 {
			// Behind a panic are the stacks of all goroutines.
			for i, l := range lines[:left] {
				if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
					text += strings.Join(lines[i:min(i+8, left)], "")
					break
				}
			}
			text += fmt.Sprintf("    [%d lines before]\n", left)
			lines = lines[left:]
		}
		for _, l := range lines {
			if len(l) > 400 {
				l = l[:400] + "...\n"
			}
			text += l
		}
		text = strings.TrimSuffix(text, "\n") + "\n"
	}
	s.report = append(s.report, text)
}

func (s *summary) read(r io.Reader) error {
	s.packages = map[string]*result{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(s.out, "%s", line) // not JSON: show it as it is
			} else {
				s.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) take(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(s.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := s.packages[e.Package]
	if p == nil {
		p = &result{output: map[string]*strings.Builder{}}
		s.packages[e.Package] = p
	}
	switch {
	case e.Action == "output":
		if p.output[e.Test] == nil {
			p.output[e.Test] = &strings.Builder{}
		}
		p.output[e.Test].WriteString(e.Output)
	case e.Test == "":
		s.endPackage(p, e)
	default:
		s.endTest(p, e)
	}
}

func (s *summary) endTest(p *result, e event) {
	switch e.Action {
	case "pass":
		p.passed++
	case "fail":
		p.failed++
		s.print("FAIL", p, e)
		s.tell(p, e.Package, e.Test)
	case "skip":
		if s.allowed[e.Package+" "+e.Test] {
			p.skipped++
			s.print("skip", p, e)
		} else { // counted once, as what it means
			p.failed++
			s.print("FAIL: skipped, and not allowed to by the list of skips", p, e)
			s.tell(p, e.Package, e.Test)
		}
	default: // start, run, pause, cont
		return
	}
	delete(p.output, e.Test)
}

func (s *summary) endPackage(p *result, e event) {
	verdict := ""
	switch e.Action {
	case "pass":
		verdict = "ok  "
	case "skip":
		verdict = "none" // no test files
	case "fail":
		verdict = "FAIL"
		if p.failed == 0 { // it did not build, or died outside of a test
			p.failed++
			s.tell(p, e.Package, "")
		}
		for test, o := range p.output { // of tests that never ended, too
			if test != "" && o.Len() > 0 {
				s.tell(p, e.Package, test)
			}
			fmt.Fprintf(s.out, "--- %s %s\n%s", e.Package, test, o)
		}
	default:
		return
	}
	if p.failed > 0 {
		verdict = "FAIL"
	}
	fmt.Fprintf(s.out, "%s %6.1fs %5d passed %3d failed %3d skipped  %s\n",
		verdict, e.Elapsed, p.passed, p.failed, p.skipped, e.Package)
	s.passed += p.passed
	s.failed += p.failed
	s.skipped += p.skipped
	delete(s.packages, e.Package)
}

func (s *summary) print(verdict string, p *result, e event) {
	fmt.Fprintf(s.out, "%s: %s %s\n", verdict, e.Package, e.Test)
	if o := p.output[e.Test]; o != nil {
		fmt.Fprint(s.out, o)
	}
}

// add appends text to a file, which "" has none of.
func add(name, text string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
