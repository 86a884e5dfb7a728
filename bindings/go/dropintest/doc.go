// Package dropintest tests the transport of librevenium's Go binding with Anthropic's own SDK: the newest version and the
// last one of the major version before. It is a module of its own, so that the binding depends on neither.
package dropintest
