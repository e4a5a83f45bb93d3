package awsproto

// Text is a member for a text that may be missing: nil for "".
func Text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
