package windows_amd64

// #cgo LDFLAGS: -L${SRCDIR}
import "C"
