package darwin_amd64

// #cgo LDFLAGS: -L${SRCDIR}
import "C"
