package main

import (
	"errors"
	"fmt"
	"sync"
)

// incr adds 1 to a key `each` times from every goroutine, each on a node of its own choice in turn, and prints every
// answer on a line of its own.
func incr(addresses []string, key string, goroutines, each int) error {
	answers := make([][]uint64, goroutines)
	failures := make([]error, goroutines)
	var group sync.WaitGroup
	for worker := range goroutines {
		group.Add(1)
		go func() {
			defer group.Done()
			client := dial(addresses[worker%len(addresses)])
			for range each {
				value, err := client.Increment(key, 1)
				if err != nil {
					failures[worker] = err
					return
				}
				answers[worker] = append(answers[worker], value)
			}
		}()
	}
	group.Wait()
	for _, values := range answers {
		for _, value := range values {
			fmt.Println(value)
		}
	}
	return errors.Join(failures...)
}
