//go:build !race

#include "textflag.h"

// func release16(p *uint16, v uint16)
TEXT ·release16(SB), NOSPLIT, $0-10
	MOVD p+0(FP), R0
	MOVHU v+8(FP), R1
	STLRH R1, (R0)
	RET
