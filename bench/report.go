package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is everything that is printed.
type report struct {
	Machine string
	CPUs    int
	Pinned  []int
	Kernel  string
	Go      string
	Command string
	Rounds  int
	Floor   spread
	Lines   []line
}

// spread is a figure over all its samples.
type spread struct{ Median, Min, Max float64 }

// line is one measurement.
type line struct {
	Name    string
	About   string
	Unit    string
	Value   float64
	Ratio   float64            `json:",omitempty"`
	Against string             `json:",omitempty"` // what Ratio is to
	Floor   float64            // in ns, in the same rounds
	Quant   map[string]float64 `json:",omitempty"`
	Target  string             `json:",omitempty"`
	Verdict string             `json:",omitempty"` // ok, missed, or why neither
}

var quantiles = []string{"50", "99", "99.9", "99.99"}

func newReport(c config, results []*result) *report {
	r := &report{
		Machine: cpuModel(), CPUs: runtime.NumCPU(), Pinned: c.cpus, Rounds: c.rounds,
		Kernel:  kernel(),
		Go:      runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Command: strings.Join(append([]string{"go run ./bench"}, os.Args[1:]...), " "),
	}
	var floors []float64
	for _, res := range results {
		floors = append(floors, res.floors...)
		r.Lines = append(r.Lines, res.line())
	}
	r.Floor = spread{median(floors), slices.Min(floors), slices.Max(floors)}
	return r
}

func (r *result) line() line {
	l := line{
		Name: r.name, About: r.about, Unit: r.unit, Value: median(r.values), Ratio: median(r.ratios),
		Floor: median(r.floors),
	}
	if len(r.ratios) > 0 {
		if l.Against = r.against; l.Against == "" {
			l.Against = "floor"
		}
	}
	if r.hist.TotalCount() > 0 {
		l.Quant = map[string]float64{}
		for _, q := range quantiles {
			var f float64
			_, _ = fmt.Sscan(q, &f)
			l.Quant[q] = at(r.hist, f) * r.scale
		}
	}
	l.Target, l.Verdict = r.judge(l)
	return l
}

func (r *result) judge(l line) (text, verdict string) {
	t := r.target
	if !t.ask {
		return "", ""
	}
	have, of := l.Ratio, " x "+l.Against
	if t.value {
		have, of = l.Value, " "+r.unit
	}
	sign, ok := "<=", have <= t.limit
	if t.atLeast {
		sign, ok = ">=", have >= t.limit
	}
	text = fmt.Sprintf("%s %g%s", sign, t.limit, of)
	if t.below > 0 {
		text += fmt.Sprintf(" if floor < %g", t.below)
	}
	switch {
	case ok:
		return text, "ok"
	case t.below > 0 && l.Floor >= t.below:
		return text, "floor too high"
	}
	return text, "missed"
}

func (r *report) missed() int {
	n := 0
	for _, l := range r.Lines {
		if l.Verdict == "missed" {
			n++
		}
	}
	return n
}

func (r *report) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "machine\t%s, %d CPUs\n", r.Machine, r.CPUs)
	fmt.Fprintf(w, "kernel\t%s\n", r.Kernel)
	fmt.Fprintf(w, "go\t%s\n", r.Go)
	fmt.Fprintf(w, "command\t%s\n", r.Command)
	if len(r.Pinned) == 2 {
		fmt.Fprintf(w, "pinned\tCPU %d and CPU %d\n", r.Pinned[0], r.Pinned[1])
		fmt.Fprintf(w, "floor\t%.0f ns one way, core to core (%.0f to %.0f)\n", r.Floor.Median, r.Floor.Min, r.Floor.Max)
	} else {
		fmt.Fprintf(w, "pinned\tnothing: there is only one CPU, so what polls is left out, and there is no floor\n")
	}
	fmt.Fprintf(w, "rounds\t%d, medians\n\n", r.Rounds)
	fmt.Fprintln(w, "measurement\tvalue\tratio\tfloor\tp50\tp99\tp99.9\tp99.99\ttarget\t")
	for _, l := range r.Lines {
		fmt.Fprintf(w, "%s\t%s %s\t", l.Name, figure(l.Value), l.Unit)
		if l.Against != "" {
			fmt.Fprintf(w, "%.2f", l.Ratio)
		}
		fmt.Fprintf(w, "\t%.0f", l.Floor)
		for _, q := range quantiles {
			fmt.Fprint(w, "\t")
			if v, ok := l.Quant[q]; ok {
				fmt.Fprint(w, figure(v))
			}
		}
		fmt.Fprintf(w, "\t%s\t%s\n", l.Target, l.Verdict)
	}
	fmt.Fprintln(w)
	for _, l := range r.Lines {
		fmt.Fprintf(w, "%s\t%s\n", l.Name, l.About)
	}
	return w.Flush()
}

// figure prints v with three digits.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// cpuModel is what the kernel calls the first CPU.
func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var parts []string
	for _, f := range []string{"ostype", "osrelease"} {
		b, _ := os.ReadFile(filepath.Join("/proc/sys/kernel", f))
		parts = append(parts, strings.TrimSpace(string(b)))
	}
	return strings.Join(parts, " ")
}
