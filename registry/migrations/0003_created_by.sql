-- How a repository came to be: who made it, and what led to that.
alter table repositories add column created_by {text} not null default '';
