-- A registry of format 0001 as its own program wrote it (sqlite3 .dump). Never changed: upgrades start from it.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE audit (
	id INTEGER NOT NULL,
	at_us BIGINT NOT NULL,
	actor TEXT NOT NULL,
	action TEXT NOT NULL,
	subject TEXT NOT NULL,
	detail TEXT NOT NULL,
	digest TEXT NOT NULL,
	CONSTRAINT pk_audit PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1700000000000000,'mel@example.org','register','shop.orders','{"content_hash":"one","kind":"source","live":false,"outcome":"created","version":""}','96cac4d99d7dea19477bcfe734aad34a46a443d6b05e963bf79b2d7f4c91cf0b');
INSERT INTO "audit" VALUES(2,1700000000000000,'mel@example.org','register','spend','{"content_hash":"hash of spend@v1","kind":"group","live":true,"outcome":"created","version":"v1"}','6e8e9e6daaab2fee01a7f1ed1d9537c6a18b5c8d97e3a56e475aa27ae2fc1c44');
INSERT INTO "audit" VALUES(3,1700000000000000,'mel@example.org','register','visits','{"content_hash":"hash of visits@v1","kind":"group","live":true,"outcome":"created","version":"v1"}','014a085111fca7f8f45f0403c579539befdfe186367c8d0943689ce82e3a6123');
INSERT INTO "audit" VALUES(4,1700000000000000,'mel@example.org','register','spend','{"content_hash":"hash of spend@v2","kind":"group","live":false,"outcome":"new_version","version":"v2"}','3ba1eea9114635d037fa8d622bac27183ecf661099f7e4c3872fac3bf7389f44');
INSERT INTO "audit" VALUES(5,1700000000000000,'mel@example.org','register','spend','{"content_hash":"hash of spend@v1","kind":"group","live":false,"outcome":"metadata","version":"v1"}','4f19f7a764f1b17a31edd79262f6844947def7d75981b6625dca636524ed9d5a');
INSERT INTO "audit" VALUES(6,1700000000000000,'mel@example.org','materialize_offline','spend','{"end_us":259200000000,"intervals":3,"partitions":3,"rows":30,"snapshot":1,"start_us":0,"version":"v1"}','c269aeb24acfb211ad20434d6a724afdee3103be37005ded6f7c0a1390e07262');
INSERT INTO "audit" VALUES(7,1700000000000000,'mel@example.org','materialize_offline','spend','{"end_us":345600000000,"intervals":2,"partitions":2,"rows":20,"snapshot":2,"start_us":86400000000,"version":"v1"}','ce8355b5f8413e55c769c40f47a01335e87e2ffb5cc998f01ed2f56549501e04');
INSERT INTO "audit" VALUES(8,1700000000000000,'mel@example.org','materialize_offline','spend','{"end_us":86400000000,"intervals":1,"partitions":1,"rows":10,"snapshot":3,"start_us":0,"version":"v2"}','39b78b83310363ce771fc40bd794d937b90d5aeea90a2468581922c2eeaa2972');
INSERT INTO "audit" VALUES(9,1700000000000000,'mel@example.org','materialize_offline','visits','{"end_us":518400000000,"intervals":1,"partitions":1,"rows":10,"snapshot":4,"start_us":432000000000,"version":"v1"}','d4bb104391b2017bd576eb93eebb79bcff49c2e39ff97b325d95e293c1778dd1');
INSERT INTO "audit" VALUES(10,1700000000000000,'mel@example.org','materialize_offline','spend','{"end_us":432000000000,"intervals":1,"partitions":0,"rows":0,"snapshot":2,"start_us":345600000000,"version":"v1"}','b0ac1cf4f3527addb46c3472d76f29388fcb902ba33009a52b6ee3c15716088f');
INSERT INTO "audit" VALUES(11,1700000000000000,'mel@example.org','publish_build','spend','{"as_of_us":86400000000,"build":"b1","epoch":7,"replaced":null,"rows":100,"version":"v1"}','ffeb27abeddbe2be5074971f40c32456327023a7901dc2b633011a85ec3c0b86');
INSERT INTO "audit" VALUES(12,1700000000000000,'mel@example.org','erase','user_id','{"keys":1}','cb44b8bef99e32b3ea2968663c07e8880bd522dc50f39a7d9bc2b48e27d358b4');
CREATE TABLE data_file (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	start_us BIGINT NOT NULL,
	end_us BIGINT NOT NULL,
	path TEXT NOT NULL,
	rows BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	checksum TEXT NOT NULL,
	content_digest TEXT NOT NULL
);
INSERT INTO "data_file" VALUES(1,'spend','v1',0,86400000000,'spend/v1/0-first.parquet',10,1000,'bytes of first','rows of first');
INSERT INTO "data_file" VALUES(2,'spend','v1',86400000000,172800000000,'spend/v1/1-first.parquet',10,1000,'bytes of first','rows of first');
INSERT INTO "data_file" VALUES(3,'spend','v1',172800000000,259200000000,'spend/v1/2-first.parquet',10,1000,'bytes of first','rows of first');
INSERT INTO "data_file" VALUES(4,'spend','v1',86400000000,172800000000,'spend/v1/1-second.parquet',10,1000,'bytes of second','rows of second');
INSERT INTO "data_file" VALUES(5,'spend','v1',259200000000,345600000000,'spend/v1/3-second.parquet',10,1000,'bytes of second','rows of second');
INSERT INTO "data_file" VALUES(6,'spend','v2',0,86400000000,'spend/v2/0-third.parquet',10,1000,'bytes of third','rows of third');
INSERT INTO "data_file" VALUES(7,'visits','v1',432000000000,518400000000,'visits/v1/5-fourth.parquet',10,1000,'bytes of fourth','rows of fourth');
CREATE TABLE definition (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	version TEXT NOT NULL,
	revision INTEGER NOT NULL,
	body TEXT NOT NULL,
	content_hash TEXT NOT NULL,
	resolved TEXT NOT NULL,
	features TEXT NOT NULL,
	created_us BIGINT NOT NULL,
	actor TEXT NOT NULL
);
INSERT INTO "definition" VALUES(1,'source','shop.orders','',1,'{"path":"orders.parquet"}','one','{}','[]',1700000000000000,'mel@example.org');
INSERT INTO "definition" VALUES(2,'group','spend','v1',1,'{"name":"spend","owner":"risk@example.org","features":[{"name":"spend_7d","window":"7d"}]}','hash of spend@v1','{"key_types":["int64"]}','["spend_7d"]',1700000000000000,'mel@example.org');
INSERT INTO "definition" VALUES(3,'group','visits','v1',1,'{"name":"visits","owner":"risk@example.org","features":[{"name":"visits_7d","window":"7d"}]}','hash of visits@v1','{"key_types":["int64"]}','["visits_7d"]',1700000000000000,'mel@example.org');
INSERT INTO "definition" VALUES(4,'group','spend','v2',1,'{"name":"spend","owner":"risk@example.org","features":[{"name":"spend_7d","window":"7d"}]}','hash of spend@v2','{"key_types":["int64"]}','["spend_7d"]',1700000000000000,'mel@example.org');
INSERT INTO "definition" VALUES(5,'group','spend','v1',2,'{"name":"spend","owner":"new@example.org","features":[{"name":"spend_7d","window":"7d"}]}','hash of spend@v1','{"key_types":["int64"]}','["spend_7d"]',1700000000000000,'mel@example.org');
CREATE TABLE feature_name (
	feature TEXT NOT NULL,
	group_name TEXT NOT NULL,
	CONSTRAINT pk_feature_name PRIMARY KEY (feature)
);
INSERT INTO "feature_name" VALUES('spend_7d','spend');
INSERT INTO "feature_name" VALUES('visits_7d','visits');
CREATE TABLE head (
	id INTEGER NOT NULL,
	epoch BIGINT NOT NULL,
	audit_rows BIGINT NOT NULL,
	audit_digest TEXT NOT NULL,
	CONSTRAINT pk_head PRIMARY KEY (id)
);
INSERT INTO "head" VALUES(1,7,12,'cb44b8bef99e32b3ea2968663c07e8880bd522dc50f39a7d9bc2b48e27d358b4');
CREATE TABLE interval (
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	store TEXT NOT NULL,
	start_us BIGINT NOT NULL,
	end_us BIGINT NOT NULL,
	status TEXT NOT NULL,
	rows BIGINT NOT NULL,
	content_hash TEXT NOT NULL,
	source_fingerprint TEXT NOT NULL,
	watermark_us BIGINT NOT NULL,
	CONSTRAINT pk_interval PRIMARY KEY (group_name, version, store, start_us, end_us)
);
INSERT INTO "interval" VALUES('spend','v1','offline',0,86400000000,'done',10,'hash of spend@v1','source of first',86400000000);
INSERT INTO "interval" VALUES('spend','v1','offline',172800000000,259200000000,'done',10,'hash of spend@v1','source of first',259200000000);
INSERT INTO "interval" VALUES('spend','v1','offline',86400000000,172800000000,'done',10,'hash of spend@v1','source of second',172800000000);
INSERT INTO "interval" VALUES('spend','v1','offline',259200000000,345600000000,'done',10,'hash of spend@v1','source of second',345600000000);
INSERT INTO "interval" VALUES('spend','v2','offline',0,86400000000,'done',10,'hash of spend@v1','source of third',86400000000);
INSERT INTO "interval" VALUES('visits','v1','offline',432000000000,518400000000,'done',10,'hash of spend@v1','source of fourth',518400000000);
INSERT INTO "interval" VALUES('spend','v1','offline',345600000000,432000000000,'pending',0,'hash of spend@v1','source as it was',432000000000);
CREATE TABLE lease (
	name TEXT NOT NULL,
	holder TEXT NOT NULL,
	epoch BIGINT NOT NULL,
	expires_us BIGINT NOT NULL,
	CONSTRAINT pk_lease PRIMARY KEY (name)
);
INSERT INTO "lease" VALUES('refresh','host:1',1,10);
CREATE TABLE live (
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	since_us BIGINT NOT NULL,
	CONSTRAINT pk_live PRIMARY KEY (group_name)
);
INSERT INTO "live" VALUES('spend','v1',1700000000000000);
INSERT INTO "live" VALUES('visits','v1',1700000000000000);
CREATE TABLE offline_table (
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	snapshot INTEGER NOT NULL,
	CONSTRAINT pk_offline_table PRIMARY KEY (group_name, version),
	CONSTRAINT fk_offline_table_snapshot FOREIGN KEY(snapshot) REFERENCES snapshot (id)
);
INSERT INTO "offline_table" VALUES('spend','v1',2);
INSERT INTO "offline_table" VALUES('spend','v2',3);
INSERT INTO "offline_table" VALUES('visits','v1',4);
CREATE TABLE online_build (
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	build TEXT NOT NULL,
	features TEXT NOT NULL,
	as_of_us BIGINT NOT NULL,
	data_through_us BIGINT NOT NULL,
	refresh_seq BIGINT NOT NULL,
	rows BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	run_end_us BIGINT NOT NULL,
	CONSTRAINT pk_online_build PRIMARY KEY (group_name, version)
);
INSERT INTO "online_build" VALUES('spend','v1','b1','["amount_7d"]',86400000000,86400000000,1,100,0,0);
CREATE TABLE snapshot (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	created_us BIGINT NOT NULL,
	actor TEXT NOT NULL,
	action TEXT NOT NULL
);
INSERT INTO "snapshot" VALUES(1,'spend','v1',1700000000000000,'mel@example.org','materialize_offline');
INSERT INTO "snapshot" VALUES(2,'spend','v1',1700000000000000,'mel@example.org','materialize_offline');
INSERT INTO "snapshot" VALUES(3,'spend','v2',1700000000000000,'mel@example.org','materialize_offline');
INSERT INTO "snapshot" VALUES(4,'visits','v1',1700000000000000,'mel@example.org','materialize_offline');
CREATE TABLE snapshot_file (
	group_name TEXT NOT NULL,
	version TEXT NOT NULL,
	start_us BIGINT NOT NULL,
	end_us BIGINT NOT NULL,
	from_snapshot INTEGER NOT NULL,
	to_snapshot INTEGER,
	file_id INTEGER NOT NULL,
	CONSTRAINT pk_snapshot_file PRIMARY KEY (group_name, version, start_us, end_us, from_snapshot),
	CONSTRAINT fk_snapshot_file_from_snapshot FOREIGN KEY(from_snapshot) REFERENCES snapshot (id),
	CONSTRAINT fk_snapshot_file_to_snapshot FOREIGN KEY(to_snapshot) REFERENCES snapshot (id),
	CONSTRAINT fk_snapshot_file_file_id FOREIGN KEY(file_id) REFERENCES data_file (id)
);
INSERT INTO "snapshot_file" VALUES('spend','v1',0,86400000000,1,NULL,1);
INSERT INTO "snapshot_file" VALUES('spend','v1',86400000000,172800000000,1,2,2);
INSERT INTO "snapshot_file" VALUES('spend','v1',172800000000,259200000000,1,NULL,3);
INSERT INTO "snapshot_file" VALUES('spend','v1',86400000000,172800000000,2,NULL,4);
INSERT INTO "snapshot_file" VALUES('spend','v1',259200000000,345600000000,2,NULL,5);
INSERT INTO "snapshot_file" VALUES('spend','v2',0,86400000000,3,NULL,6);
INSERT INTO "snapshot_file" VALUES('visits','v1',432000000000,518400000000,4,NULL,7);
CREATE TABLE training_manifest (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL,
	created_us BIGINT NOT NULL,
	body TEXT NOT NULL,
	key_digests TEXT NOT NULL,
	CONSTRAINT uq_training_manifest_id UNIQUE (id)
);
INSERT INTO "training_manifest" VALUES(1,'set',1,'{"rows":3}','keys.bin');
CREATE UNIQUE INDEX ix_definition_revision ON definition (kind, name, version, revision);
CREATE INDEX ix_data_file_version ON data_file (group_name, version);
CREATE INDEX ix_snapshot_version ON snapshot (group_name, version);
CREATE INDEX ix_audit_subject ON audit (subject);
CREATE UNIQUE INDEX ix_snapshot_file_open ON snapshot_file (group_name, version, start_us, end_us) WHERE to_snapshot IS NULL;
CREATE INDEX ix_snapshot_file_file_id ON snapshot_file (file_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('definition',5);
INSERT INTO "sqlite_sequence" VALUES('snapshot',4);
INSERT INTO "sqlite_sequence" VALUES('data_file',7);
INSERT INTO "sqlite_sequence" VALUES('training_manifest',1);
COMMIT;
