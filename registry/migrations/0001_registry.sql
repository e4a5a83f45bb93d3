-- Regional tables start with account and region. repo is a repository's id,
-- never used twice: rows below a deleted repository mean nothing and are
-- cleared away later (purges).
create table repositories (
	account     {text} not null,
	region      {text} not null,
	name        {text} not null,
	id          bigint not null,
	created_at  bigint not null,
	mutability  {text} not null,
	exclusions  {text} not null, -- JSON list of filters
	scan        bigint not null, -- scan on push
	encryption  {text} not null, -- AES256 or KMS
	kms_key     {text} not null, -- ARN with KMS, else ''
	policy      {text} not null, -- '' when there is none
	lifecycle   {text} not null, -- '' when there is none
	lifecycle_evaluated_at bigint not null,
	tags        {text} not null, -- resource tags, JSON object
	template    {text} not null, -- prefix of the template that made it, '' for a user
	version     bigint not null, -- counts changes of settings
	image_count bigint not null,
	primary key (account, region, name)
){norowid};

create index repositories_leftover on repositories (created_at) where template <> '' and image_count = 0 and version = 0;

create table images (
	account       {text} not null,
	region        {text} not null,
	repo          bigint not null,
	digest        {text} not null,
	media_type    {text} not null,
	artifact_type {text} not null,
	config_type   {text} not null,
	subject       {text} not null, -- digest, '' when there is none
	depth         bigint not null, -- 0 for an image, of an index 1 more than its deepest child
	size          bigint not null, -- config and layers
	tag_count     bigint not null,
	pushed_at     bigint not null,
	pulled_at     bigint not null, -- 0 before the first pull
	pushed_by     {text} not null, -- ARN
	body          {bytes} not null,
	primary key (account, region, repo, digest)
);

create index images_by_time on images (account, region, repo, pushed_at desc, digest);

create index images_untagged on images (account, region, repo, digest) where tag_count = 0;

create index images_by_subject on images (account, region, repo, subject, digest) where subject <> '';

create table tags (
	account  {text} not null,
	region   {text} not null,
	repo     bigint not null,
	tag      {text} not null,
	digest   {text} not null,
	moved_at bigint not null,
	primary key (account, region, repo, tag)
){norowid};

create index tags_by_image on tags (account, region, repo, digest, tag);

-- What an image needs: its config and layers (blob) or its manifests (child).
create table image_refs (
	account {text} not null,
	region  {text} not null,
	repo    bigint not null,
	ref     {text} not null,
	digest  {text} not null,
	kind    {text} not null,
	primary key (account, region, repo, ref, digest)
){norowid};

-- Which blobs a repository may read. Without this row a digest opens nothing.
create table layers (
	account   {text} not null,
	region    {text} not null,
	repo      bigint not null,
	digest    {text} not null,
	size      bigint not null,
	linked_at bigint not null,
	primary key (account, region, repo, digest)
){norowid};

-- Blobs belong to the deployment. The row makes the blob exist.
create table blobs (
	digest       {text} not null,
	encryption   {text} not null, -- ARN of the wrapping key, '' for plain bytes
	size         bigint not null,
	stored_size  bigint not null,
	store_key    {text} not null, -- '' when the bytes are in this row
	data_key     {bytes},
	created_at   bigint not null,
	touched_at   bigint not null,
	leased_until bigint not null,
	inline_bytes {bytes},
	primary key (digest, encryption)
);

create index blobs_by_key on blobs (store_key) where store_key <> '';

create table uploads (
	account     {text} not null,
	region      {text} not null,
	id          {text} not null,
	repo        bigint not null,
	principal   {text} not null,
	node        {text} not null, -- the process that wrote it last
	started_at  bigint not null,
	used_at     bigint not null,
	size        bigint not null,
	parts       bigint not null,
	short_part  bigint not null,
	store_key   {text} not null,
	hash        {bytes},
	tail        {bytes},
	data_key    {bytes},
	encryption  {text} not null,
	nonce       {bytes},
	primary key (account, region, id)
){norowid};

create index uploads_by_repository on uploads (account, region, repo);

create index uploads_by_use on uploads (used_at);

create table templates (
	account    {text} not null,
	region     {text} not null,
	prefix     {text} not null,
	created_at bigint not null,
	updated_at bigint not null,
	spec       {text} not null, -- JSON
	primary key (account, region, prefix)
){norowid};

create table registry_settings (
	account {text} not null,
	region  {text} not null,
	name    {text} not null,
	value   {text} not null,
	primary key (account, region, name)
){norowid};

-- Repositories that are gone and whose rows are still to be cleared.
create table purges (
	account    {text} not null,
	region     {text} not null,
	repo       bigint not null,
	deleted_at bigint not null,
	primary key (account, region, repo)
){norowid};
