//go:build !race

#include "textflag.h"

// func swap16(p *uint16, v uint16)
TEXT ·swap16(SB), NOSPLIT, $0-10
	MOVQ p+0(FP), BX
	MOVW v+8(FP), AX
	XCHGW AX, (BX)
	RET
