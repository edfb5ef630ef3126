package mpsc

// Executor is the executor's end of a queue: an [Exec], or a [Local].
type Executor interface {
	Start(c Control, ops []Op) ([]Op, error)
	Take(ops []Op, now int64) ([]Op, error)
	Complete(o Token, result int32)
	Abort(o Token)
	ClaimIdle() bool
	DropIdle() bool
	Tidy() error
	Offer() (left bool, err error)
	Release() (left bool, err error)
	Leave() error
	Since() int
}

// Run uses control that was just gained, until it is given back or handed on:
// it takes up to cap(ops) ops at a time and has carry carry them out, which must
// complete each before it returns. After quota ops control is handed on if
// there is somebody to take it, or given up if over says so.
func Run(x Executor, c Control, ops []Op, quota int, now func() int64, carry func([]Op), over func() bool) error {
	ops, err := x.Start(c, ops[:0])
	for err == nil {
		if len(ops) > 0 {
			carry(ops)
			ops = ops[:0]
		}
		left := false
		if x.Since() >= quota {
			if left, err = x.Offer(); left || err != nil {
				break
			}
			if over() {
				return x.Leave()
			}
		}
		if err = x.Tidy(); err != nil {
			break
		}
		if ops, err = x.Take(ops, now()); err != nil || len(ops) > 0 {
			continue
		}
		if left, err = x.Release(); left {
			break
		}
	}
	return err
}
