//go:build !revenium_pkgconfig

package revenium

import "C"

import _ "github.com/librevenium/librevenium/bindings/go/lib/windows_amd64"
