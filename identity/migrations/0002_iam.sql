-- A closed account's credentials stop working; what it owns stays.
alter table accounts add column closed_at bigint not null default 0;

create table account_aliases (
	account {text} not null,
	alias   {text} not null,
	primary key (alias)
){norowid};

create unique index account_aliases_by_account on account_aliases (account);

alter table access_keys add column used_at bigint not null default 0;
alter table access_keys add column used_service {text} not null default '';
alter table access_keys add column used_region {text} not null default '';

create index access_keys_by_principal on access_keys (account, principal_id);

-- Users, groups and roles. Names are unique without regard to case; id is the
-- unique id that policies and sessions refer to and that is never used again.
create table entities (
	account        {text} not null,
	kind           {text} not null, -- user, group or role
	name_key       {text} not null, -- the name in lower case
	name           {text} not null,
	path           {text} not null,
	id             {text} not null,
	created_at     bigint not null,
	description    {text} not null,
	trust          {text} not null, -- of a role: who may assume it
	max_session    bigint not null, -- of a role, seconds
	boundary       {text} not null, -- ARN of the permissions boundary, '' for none
	tags           {text} not null, -- JSON object
	password       {text} not null, -- of a user: argon2id, '' for none
	password_at    bigint not null,
	password_reset bigint not null,
	used_at        bigint not null, -- last assumed, or last sign-in
	used_region    {text} not null,
	primary key (account, kind, name_key)
){norowid};

create unique index entities_by_id on entities (id);

create table inline_policies (
	account   {text} not null,
	entity_id {text} not null,
	name      {text} not null,
	document  {text} not null,
	primary key (account, entity_id, name)
){norowid};

create table managed_policies (
	account         {text} not null,
	name_key        {text} not null,
	name            {text} not null,
	path            {text} not null,
	id              {text} not null,
	description     {text} not null,
	created_at      bigint not null,
	updated_at      bigint not null,
	default_version bigint not null,
	last_version    bigint not null,
	tags            {text} not null,
	primary key (account, name_key)
){norowid};

create table policy_versions (
	account    {text} not null,
	policy_id  {text} not null,
	version    bigint not null,
	document   {text} not null,
	created_at bigint not null,
	primary key (account, policy_id, version)
){norowid};

-- Policies attached to users, groups and roles, by the policy's ARN, which may be
-- one of AWS's own.
create table attachments (
	account    {text} not null,
	entity_id  {text} not null,
	policy_arn {text} not null,
	primary key (account, entity_id, policy_arn)
){norowid};

create index attachments_by_policy on attachments (account, policy_arn, entity_id);

create table memberships (
	account  {text} not null,
	user_id  {text} not null,
	group_id {text} not null,
	primary key (account, user_id, group_id)
){norowid};

create index memberships_by_group on memberships (account, group_id, user_id);

create table oidc_providers (
	account     {text} not null,
	url         {text} not null, -- without https://
	clients     {text} not null, -- JSON list
	thumbprints {text} not null, -- JSON list
	tags        {text} not null,
	created_at  bigint not null,
	primary key (account, url)
){norowid};

-- Temporary credentials. The token itself is not kept, only its hash; what the
-- session may do and the secret key are sealed in payload.
create table sessions (
	account       {text} not null,
	access_key_id {text} not null,
	principal_id  {text} not null,
	token_hash    {bytes} not null,
	payload       {bytes} not null,
	expires_at    bigint not null,
	primary key (access_key_id)
){norowid};

create index sessions_by_end on sessions (expires_at);

-- Denied calls with their explanations.
create table denials (
	account    {text} not null,
	request_id {text} not null,
	at         bigint not null,
	body       {text} not null, -- JSON
	primary key (account, request_id)
){norowid};

create index denials_by_time on denials (at);

create index denials_by_account on denials (account, at);
