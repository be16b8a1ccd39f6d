package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// writeRejected writes the rejected rows as CSV.
func writeRejected(name string, rows []rejected) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it names recipients
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := csv.NewWriter(file)
	lines := [][]string{{"row", "recipient", "reason"}}
	for _, r := range rows {
		lines = append(lines, []string{strconv.Itoa(r.Row), harmless(r.Recipient), harmless(r.Reason)})
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// harmless keeps a spreadsheet from reading a cell as a formula.
func harmless(cell string) string {
	if strings.ContainsAny(cell[:min(1, len(cell))], "=+-@\t\r") {
		return "'" + cell
	}
	return cell
}
