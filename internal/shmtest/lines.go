package shmtest

import "time"

// Each calls f with each further line that the process writes, and returns
// when it has ended. The test fails if it is silent for longer than [Deadline].
func (p *Proc) Each(f func(line string)) {
	p.t.Helper()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				<-p.done
				return
			}
			f(line)
		case <-time.After(Deadline):
			p.t.Fatalf("role %q is silent\n%s", p.role, p.log.String())
		}
	}
}
