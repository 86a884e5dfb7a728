// The library from Go, configured by the environment: create, or streams whose events are all read, on goroutines.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

var (
	_      = flag.Int("port", 0, "of the server; the environment says the same")
	mode   = flag.String("mode", "create", "create or stream")
	calls  = flag.Int("calls", 0, "measured calls")
	warm   = flag.Int("warm", 0, "calls before them")
	atOnce = flag.Int("at-once", 1, "calls at a time")
)

func main() {
	flag.Parse()
	if err := revenium.Init(); err != nil {
		log.Fatal(err)
	}
	ready := cpu()
	run(*warm)
	flush()
	start, clock := cpu(), time.Now()
	idle := status("VmRSS")
	deltas := run(*calls)
	wall := time.Since(clock)
	flush()
	fmt.Printf(`{"ready_cpu_us":%d,"cpu_us":%d,"wall_us":%d,"idle_kib":%d,"peak_kib":%d,"threads":%d,"deltas":%d}`+"\n",
		ready.Microseconds(), (cpu() - start).Microseconds(), wall.Microseconds(), idle, status("VmHWM"), status("Threads"), deltas)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := revenium.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}

// run makes so many calls and counts the text deltas of their streams.
func run(calls int) int64 {
	var begun, deltas atomic.Int64
	var workers sync.WaitGroup
	for range min(*atOnce, calls) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for begun.Add(1) <= int64(calls) {
				deltas.Add(call())
			}
		}()
	}
	workers.Wait()
	return deltas.Load()
}

func call() int64 {
	ctx, client := context.Background(), revenium.NewClient()
	params := revenium.MessageNewParams{
		Model:     "claude-haiku-4-5",
		MaxTokens: 1024,
		Messages:  []revenium.MessageParam{revenium.NewUserMessage(revenium.ContentBlock{Type: "text", Text: "Say hello to the benchmark."})},
	}
	if *mode != "stream" {
		if _, err := client.Messages.New(ctx, params); err != nil {
			log.Fatal(err)
		}
		return 0
	}
	deltas := int64(0)
	stream := client.Messages.NewStreaming(ctx, params)
	defer stream.Close()
	for stream.Next() {
		if event := stream.Current(); event.Delta != nil && event.Text() != "" {
			deltas++
		}
	}
	if err := stream.Err(); err != nil {
		log.Fatal(err)
	}
	return deltas
}

func flush() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := revenium.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

// cpu is the processor time of all threads.
func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		log.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// status is a line of /proc/self/status, in its unit.
func status(name string) (value int) {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), name+":"); found {
			fmt.Sscan(rest, &value)
		}
	}
	return value
}
