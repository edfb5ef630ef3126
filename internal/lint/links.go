package lint

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

var (
	inlineLink = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	refLink    = regexp.MustCompile(`^\s*\[[^\]]+\]:\s*<?([^\s>]+)>?`)
	heading    = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*$`)
	notSlug    = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
	scheme     = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)
	codeSpan   = regexp.MustCompile("`[^`]*`")
)

// Links checks that relative links between Markdown files lead to a file or
// directory of the repository and, where they name one, to a heading in it.
func Links(t Tree) []Finding {
	anchors := map[string]map[string]bool{}
	dirs := map[string]bool{".": true}
	for name := range t {
		for d := path.Dir(name); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
		if strings.HasSuffix(name, ".md") {
			anchors[name] = map[string]bool{}
			prose(t[name], func(_ int, line string) {
				if m := heading.FindStringSubmatch(line); m != nil {
					anchors[name][slug(m[1])] = true
				}
			})
		}
	}
	var out []Finding
	for name := range anchors {
		if testdata(name) {
			continue
		}
		prose(t[name], func(number int, line string) {
			for _, target := range targets(line) {
				if why := dead(t, dirs, anchors, name, target); why != "" {
					out = append(out, Finding{name, number, fmt.Sprintf("the link %q %s: correct it", target, why)})
				}
			}
		})
	}
	return sorted(out)
}

func dead(t Tree, dirs map[string]bool, anchors map[string]map[string]bool, from, target string) string {
	if scheme.MatchString(target) || strings.HasPrefix(target, "//") {
		return ""
	}
	file, anchor, hasAnchor := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	if _, ok := t[to]; !ok && !dirs[to] {
		return "leads to no file"
	}
	if heads, ok := anchors[to]; hasAnchor && ok && !heads[strings.ToLower(anchor)] {
		return "leads to no heading in " + to
	}
	return ""
}

func targets(line string) []string {
	var out []string
	line = codeSpan.ReplaceAllString(line, "")
	for _, m := range inlineLink.FindAllStringSubmatch(line, -1) {
		out = append(out, m[1])
	}
	if m := refLink.FindStringSubmatch(line); m != nil {
		out = append(out, m[1])
	}
	return out
}

// prose calls f for the lines of a Markdown text that are outside code fences.
func prose(text []byte, f func(number int, line string)) {
	fence := ""
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
		default:
			f(i+1, line)
		}
	}
}

// slug turns a heading into the anchor that GitHub gives it.
func slug(title string) string {
	title = notSlug.ReplaceAllString(strings.ToLower(title), "")
	return strings.ReplaceAll(title, " ", "-")
}
