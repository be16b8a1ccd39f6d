package engine

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrMissing is wrapped by the error for an engine whose programs are not installed.
var ErrMissing = errors.New("not installed")

// locate finds a program: in the newest of the folders that a pattern matches, else on the PATH. The
// error for none names Debian's package.
func locate(program, pattern, debian string) (string, error) {
	folders, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	slices.SortFunc(folders, byVersion)
	for _, folder := range slices.Backward(folders) {
		if path, err := exec.LookPath(filepath.Join(folder, program)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is %w; on Debian it comes with: apt-get install %s", program, ErrMissing, debian)
	}
	return path, nil // not what a link points to: the name says which of its programs Redis is
}

// byVersion compares the numbers in two paths, so that 15 comes after 9.
func byVersion(a, b string) int { return slices.Compare(numbers(a), numbers(b)) }

func numbers(path string) []int {
	words := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	found := make([]int, len(words))
	for i, w := range words {
		found[i], _ = strconv.Atoi(w) // digits only; what is too long for a number is no version
	}
	return found
}
