package sqldb

// Waiting is how many transactions wait for SQLite's writer.
func (db *DB) Waiting() int { return len(db.queue) }
