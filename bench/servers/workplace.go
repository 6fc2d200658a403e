package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Workplace is a fresh folder below parent ("": the system's temporary one) for a command's
// data and logs, and the quorate binary to measure: bin, or one built from repo. done
// removes the folder, or says where it is if it is to be kept; call it in any case.
func Workplace(ctx context.Context, parent, name, bin, repo string, keep bool) (dir, binary string, done func() error, err error) {
	none := func() error { return nil }
	if dir, err = os.MkdirTemp(parent, "quorate-"+name+"-"); err != nil {
		return "", "", none, err
	}
	done = func() error {
		if keep {
			fmt.Fprintln(os.Stderr, "data and logs are in", dir)
			return nil
		}
		return os.RemoveAll(dir)
	}
	if bin == "" {
		if bin, err = BuildQuorate(ctx, repo, dir); err != nil {
			return "", "", none, errors.Join(err, done())
		}
	}
	if binary, err = filepath.Abs(bin); err != nil {
		return "", "", none, errors.Join(err, done())
	}
	return dir, binary, done, nil
}
