create table functions (
	account      {text} not null,
	region       {text} not null,
	name         {text} not null,
	body         {text} not null, -- JSON; the environment is sealed
	tags         {text} not null, -- JSON object
	policy       {text} not null, -- JSON list of statements
	reserved     bigint not null, -- concurrency, -1 for none
	last_version bigint not null,
	primary key (account, region, name)
){norowid};

create table function_versions (
	account  {text} not null,
	region   {text} not null,
	function {text} not null,
	version  bigint not null,
	body     {text} not null,
	primary key (account, region, function, version)
){norowid};

create table function_aliases (
	account  {text} not null,
	region   {text} not null,
	function {text} not null,
	name     {text} not null,
	body     {text} not null,
	primary key (account, region, function, name)
){norowid};

-- How asynchronous invocations are tried again.
create table function_event_configs (
	account   {text} not null,
	region    {text} not null,
	function  {text} not null,
	qualifier {text} not null,
	body      {text} not null,
	primary key (account, region, function, qualifier)
){norowid};

-- Archives of code, in parts.
create table function_code (
	account    {text} not null,
	sha        {text} not null,
	part       bigint not null,
	bytes      {bytes} not null,
	created_at bigint not null,
	primary key (account, sha, part)
){norowid};

-- What ran, for a while.
create table function_runs (
	account    {text} not null,
	region     {text} not null,
	id         {text} not null,
	function   {text} not null,
	version    {text} not null,
	started_at bigint not null,
	ended_at   bigint not null,
	outcome    {text} not null, -- succeeded, failed, or timed out
	error      {text} not null,
	delivery   {text} not null, -- that it was for
	log_group  {text} not null,
	log_stream {text} not null,
	primary key (account, region, id)
){norowid};

create index function_runs_by_time on function_runs (started_at);
