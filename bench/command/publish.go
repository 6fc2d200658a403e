package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Publish prints a report, and writes it as text and its figures as JSON where files are
// named.
func Publish(text string, figures any, textFile, jsonFile string) error {
	fmt.Print("\n", text)
	var errs []error
	if textFile != "" {
		errs = append(errs, os.WriteFile(textFile, []byte(text), 0o644))
	}
	if jsonFile != "" {
		out, err := json.MarshalIndent(figures, "", "  ")
		if err == nil {
			err = os.WriteFile(jsonFile, append(out, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
