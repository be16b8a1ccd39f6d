package sdk

// ExpectShares has the server wait for a gateway that keeps shared values, as one that Serve runs does.
func (s *Server) ExpectShares() { s.shares.expect() }
