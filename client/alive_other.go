//go:build !unix

package client

// alive cannot be known here without waiting. A connection that turns out to be
// closed is not the node's fault, and the call goes on with another one.
func (c *httpConn) alive() bool { return c.br.Buffered() == 0 }
