-- What the pusher's workload identity says of where an image came from: claims of
-- its token as a JSON object, '' for none.
alter table images add column origin {text} not null default '';
