package leveldisk

// SyncDir does nothing: Windows cannot flush a directory, and NTFS journals names itself.
func SyncDir(string) error { return nil }
