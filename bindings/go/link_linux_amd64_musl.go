//go:build linux && amd64 && revenium_musl && !revenium_pkgconfig

package revenium

import "C"

import _ "github.com/librevenium/librevenium/bindings/go/lib/linux_amd64_musl"
