package darwin_arm64

// #cgo LDFLAGS: -L${SRCDIR}
import "C"
