-- Accounts are what everything else belongs to.
create table accounts (
	account    {text} not null,
	name       {text} not null,
	created_at bigint not null,
	primary key (account)
){norowid};

-- Access keys name their account, so they are found by id alone. The secret is
-- sealed under the master key, bound to the key id.
create table access_keys (
	account       {text} not null,
	access_key_id {text} not null,
	kind          {text} not null,
	principal_arn {text} not null,
	principal_id  {text} not null,
	secret        {bytes} not null,
	active        bigint not null,
	created_at    bigint not null,
	primary key (access_key_id)
){norowid};

create index access_keys_by_account on access_keys (account, principal_arn);
