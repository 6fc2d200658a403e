package h1

import "net/http"

// statusText is http.StatusText without its switch for the usual ones.
func statusText(status int) string {
	switch status {
	case http.StatusOK:
		return "OK"
	case http.StatusNoContent:
		return "No Content"
	}
	return http.StatusText(status)
}
