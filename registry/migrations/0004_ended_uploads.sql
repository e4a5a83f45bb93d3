-- Uploads that have ended, where their ids alone would say that they can go on; they are
-- forgotten when these say so no more. Ids sort by the time of the beginning.
create table ended_uploads (
	id {text} primary key
){norowid};
