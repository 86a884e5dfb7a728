package revenium

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The header of this module and the numbers in Go are those of the library.
func TestGeneratedFilesAreFresh(t *testing.T) {
	if out, err := exec.Command("python3", "../generate.py", "--check").CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// Every function of the header is called in native.go, or has its reason here.
func TestFunctions(t *testing.T) {
	unused := map[string]string{
		"revenium_messages_create": "holds a thread while it waits",
		"revenium_messages_stream": "holds a thread while it waits",
		"revenium_messages_start":  "calls back on foreign threads",
		"revenium_platform_call":   "holds a thread while it waits",
		"revenium_scope_push":      "goroutines change threads",
		"revenium_scope_pop":       "goroutines change threads",
		"revenium_set_log":         "calls back on foreign threads",
		"revenium_result_code":     "frames carry the code",
	}
	native := read(t, "native.go")
	declared := regexp.MustCompile(`(?m)^[a-z].*?\b(revenium_\w+)\(`).FindAllStringSubmatch(read(t, "revenium.h"), -1)
	if len(declared) < 25 {
		t.Fatalf("only %d functions found in the header", len(declared))
	}
	var names []string
	for _, match := range declared {
		name := match[1]
		if strings.HasPrefix(match[0], "typedef") {
			continue
		}
		names = append(names, name)
		if called := strings.Contains(native, "C."+name+"("); called == (unused[name] != "") {
			t.Errorf("%s: called is %v, reason for not calling: %q", name, called, unused[name])
		}
	}
	for name := range unused {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not in the header", name)
		}
	}
	files, _ := os.ReadDir(".")
	for _, file := range files {
		name := file.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "link_") {
			continue
		}
		if strings.Contains(read(t, name), "import \"C\"\n") != (name == "native.go") {
			t.Errorf("%s: only native.go imports C", name)
		}
	}
}

func TestCodesAreTheLibrarys(t *testing.T) {
	codes := regexp.MustCompile(`(?m)^\s(?:Err|code)(\w+) Code = (-\d+)`).FindAllStringSubmatch(read(t, "constants.go"), -1)
	if len(codes) < 25 {
		t.Errorf("only %d codes", len(codes))
	}
	for _, match := range codes {
		name := Code(must(strconv.Atoi(match[2]))).String()
		if match[1] == "BudgetExceeded" {
			match[1] = "Budget" // Named as Revenium's SDK names it.
		}
		if got := strings.ReplaceAll(strings.TrimPrefix(name, "REVENIUM_E_"), "_", ""); got != strings.ToUpper(match[1]) {
			t.Errorf("%s is %s, which is %s", match[1], match[2], name)
		}
	}
	version := regexp.MustCompile(`(?s)VERSION_MAJOR (\d+).*VERSION_MINOR (\d+).*VERSION_PATCH (\d+)`).FindStringSubmatch(read(t, "revenium.h"))
	if want := strings.Join(version[1:], "."); Version() != want {
		t.Errorf("version %s, header %s", Version(), want)
	}
}

func TestAnotherABIIsRefused(t *testing.T) {
	if err := abiError(abiVersion); err != nil {
		t.Error(err)
	}
	err := abiError(abiVersion + 1)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), fmt.Sprintf("has ABI %d (version %s)", abiVersion+1, Version())) {
		t.Error(err)
	}
}
