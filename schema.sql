-- The whole schema of larder's catalogue, version 4 (PRAGMA user_version; PRAGMA application_id is
-- 1818325604, "lard"). Read it with: sqlite3 -readonly <data>/catalogue.db .schema
--
-- Units: times are milliseconds since 1970-01-01T00:00:00Z and never go below `clock.newest`;
-- sizes are bytes. Codes, never reused:
--   kind    0 content, 1 directory, 2 revision, 3 release, 4 snapshot
--   format  1 tar.gz, 2 tar, 3 tar.zst, 4 zip, 5 git.tar, 6 bundle, 7 gitfast.gz, 8 raw
--   status  0 new, 1 pending, 2 done, 3 failed
--   outcome (of a visit)  0 full, 1 failed
--
-- A bundle is named by (kind, sha1git, format), the sha1git as 20 bytes. Names are never looked up
-- by anything but their key or an index made for the question; sums are kept by triggers. Every
-- statement costs the same with ten bundles and with ten million.

-- The newest time in the catalogue, and what the machine's clock said then. They differ only after
-- the clock was set back: time goes on from `newest` until the clock has caught up.
CREATE TABLE clock (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    newest  INTEGER NOT NULL,
    wall    INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0, 0);

-- What /metrics, admission and the limit of the queue ask. Kept by the triggers below; `fsck` can
-- compare it with the tables.
CREATE TABLE totals (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    files      INTEGER NOT NULL CHECK (files >= 0),
    allocated  INTEGER NOT NULL CHECK (allocated >= 0),   -- sum over `file`
    queued     INTEGER NOT NULL CHECK (queued >= 0),      -- rows of `cook` without an owner
    running    INTEGER NOT NULL CHECK (running >= 0)      -- rows of `cook` with one
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0);

-- One row for each file of the store; hard links are one file. It goes with its last name.
CREATE TABLE file (
    id           INTEGER PRIMARY KEY,
    size         INTEGER NOT NULL CHECK (size >= 0),
    allocated    INTEGER NOT NULL CHECK (allocated >= 0), -- blocks on disk: what limits count
    blake3       BLOB    NOT NULL CHECK (length(blake3) = 32),
    sha256       BLOB    CHECK (length(sha256) = 32),     -- NULL until computed, after publishing
    last_access  INTEGER NOT NULL,                        -- of any of its names; to five minutes
    pins         INTEGER NOT NULL DEFAULT 0 CHECK (pins >= 0), -- how many of its names are pinned
    cook_millis  INTEGER NOT NULL DEFAULT 0 CHECK (cook_millis >= 0), -- what cooking it took
    credit       REAL    NOT NULL DEFAULT 0               -- `gdsf.inflation` when last_access was written
) STRICT;

-- The order of collection, with all that a plan asks of a file, so that a plan reads nothing else.
CREATE INDEX file_by_last_access ON file (last_access, id, allocated, pins);
-- What still lacks its sha256.
CREATE INDEX file_without_sha256 ON file (id) WHERE sha256 IS NULL;

-- The worth of the last file that the policy `gdsf` collected: what the worth of others is counted
-- from when they are used. It only grows.
CREATE TABLE gdsf (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    inflation  REAL    NOT NULL
) STRICT;
INSERT INTO gdsf VALUES (1, 0);

-- What collections removed since the catalogue was made, whichever process ran them: for /metrics.
CREATE TABLE evicted (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    files   INTEGER NOT NULL CHECK (files >= 0),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),           -- on disk
    unused  INTEGER NOT NULL CHECK (unused >= 0)           -- seconds since each was last used, summed up
) STRICT;
INSERT INTO evicted VALUES (1, 0, 0, 0);

-- One row for each bundle that was ever asked for and not removed since.
CREATE TABLE bundle (
    kind        INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 4),
    sha1git     BLOB    NOT NULL CHECK (length(sha1git) = 20),
    format      INTEGER NOT NULL CHECK (format > 0),
    status      INTEGER NOT NULL CHECK (status BETWEEN 0 AND 3),
    file        INTEGER REFERENCES file (id),
    created_at  INTEGER NOT NULL,                         -- first asked for
    done_at     INTEGER,                                  -- its file was published
    hits        INTEGER NOT NULL DEFAULT 0 CHECK (hits >= 0),
    pinned      INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
    failed_at   INTEGER,
    failure     TEXT,                                     -- a word of `FailureCode`
    message     TEXT,                                     -- the reason, for people
    notes       TEXT CHECK (json_valid(notes)),           -- JSON array of what the bundle leaves out, if anything
    lossy       INTEGER NOT NULL DEFAULT 0 CHECK (lossy IN (0, 1)), -- what was left out changes ids
    PRIMARY KEY (kind, sha1git, format),
    CHECK ((status = 2) = (file IS NOT NULL)),
    CHECK ((status = 2) = (done_at IS NOT NULL)),
    CHECK ((status = 3) = (failed_at IS NOT NULL)),
    CHECK ((status = 3) = (failure IS NOT NULL)),
    CHECK ((status = 3) = (message IS NOT NULL)),
    CHECK (status = 2 OR (notes IS NULL AND lossy = 0))
) STRICT, WITHOUT ROWID;

-- The names of a file.
CREATE INDEX bundle_by_file ON bundle (file) WHERE file IS NOT NULL;
-- Listings: only what is there, in order of id, however many failures lie between.
CREATE INDEX bundle_done ON bundle (kind, sha1git, format) WHERE status = 2;
-- What failed for a block, and is forgotten when one is lifted.
CREATE INDEX bundle_blocked ON bundle (failure) WHERE failure = 'blocked';
-- What nobody has, and is forgotten after a while where upstreams are asked for whatever is wanted.
CREATE INDEX bundle_absent ON bundle (failed_at) WHERE failure = 'missing-object';

-- Where the segments of the flat bundles lie that are in the store, so that a cook takes those that
-- another has made (docs/format.md, "What bundles share"). Of a segment of over a mebibyte each unit
-- has a row; of the members of a zip, those that lie between two cuts. A row is a hint and never more:
-- what is copied is compared with its checksum. It goes with its file, and stands for at least 2 KiB
-- of it, of which no other row does: so the store bounds the rows.
CREATE TABLE segment (
    key       BLOB    PRIMARY KEY CHECK (length(key) = 20), -- of its members, its format and that's version
    file      INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    start     INTEGER NOT NULL CHECK (start >= 0),        -- where it begins in the file
    packed    INTEGER NOT NULL CHECK (packed > 0),        -- its bytes there
    length    INTEGER NOT NULL CHECK (length > 0),        -- and in a tar
    crc       INTEGER NOT NULL,                           -- CRC-32 of those, where the format has one; else 0
    checksum  BLOB    NOT NULL CHECK (length(checksum) = 16) -- BLAKE3 of all of that but where it lies
) STRICT, WITHOUT ROWID;

-- What goes with a file.
CREATE INDEX segment_by_file ON segment (file);

-- The queue: one row for each cook that is waiting or running, gone when it ends.
--
-- Who has a row here is `new` or `pending`, and who is `pending` has a row:
--   owner NULL, root NULL   `new`: waits for a worker, not before `ready_at`
--   owner set,  root NULL   `pending`: the process of that name cooks it
--   owner NULL, root set    `pending`: the same bytes as the bundle of row `root`, and done, or
--                           failed, in the transaction in which that one is
-- A row that `root` leads to is not itself a waiter. A bundle that is `new` without a row was done
-- once and its file is gone: it counts as absent until somebody asks for it again.
CREATE TABLE cook (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,     -- never reused: it tells two claims apart
    kind           INTEGER NOT NULL,
    sha1git        BLOB    NOT NULL,
    format         INTEGER NOT NULL,
    owner          TEXT    CHECK (owner <> ''),           -- a process folder's name
    ready_at       INTEGER NOT NULL,                      -- its place in the queue, and its back-off
    attempts       INTEGER NOT NULL DEFAULT 0,            -- transient failures so far
    interruptions  INTEGER NOT NULL DEFAULT 0,            -- owners that died cooking it
    root           INTEGER REFERENCES cook (seq) ON DELETE SET NULL,
    UNIQUE (kind, sha1git, format),
    FOREIGN KEY (kind, sha1git, format) REFERENCES bundle ON DELETE CASCADE,
    CHECK (owner IS NULL OR root IS NULL),
    CHECK (root <> seq)
) STRICT;

CREATE INDEX cook_ready ON cook (ready_at, seq) WHERE owner IS NULL AND root IS NULL;
CREATE INDEX cook_by_owner ON cook (owner) WHERE owner IS NOT NULL;
CREATE INDEX cook_by_root ON cook (root) WHERE root IS NOT NULL;

-- What a request to the Archiver stands for: one row for each set of parameters that was ever asked for
-- and not forgotten since. The bytes are the bundle (content, `content`, raw), which may be collected
-- while the row stays: then the next request fetches again.
CREATE TABLE archiver_alias (
    id              INTEGER PRIMARY KEY,
    key             BLOB    NOT NULL UNIQUE CHECK (length(key) = 32), -- BLAKE3 of the six that follow
    source          TEXT    NOT NULL,
    repo            TEXT    NOT NULL,
    rev             TEXT    NOT NULL,
    suffix          TEXT    NOT NULL,
    subdir          TEXT    NOT NULL,
    url             TEXT    NOT NULL,                     -- of the upstream
    content         BLOB    CHECK (length(content) = 20), -- sha1git of the bytes; NULL until they came
    size            INTEGER CHECK (size >= 0),
    media_type      TEXT,                                 -- the upstream's Content-Type
    file_name       TEXT,                                 -- from its Content-Disposition
    directory       BLOB    CHECK (length(directory) = 20), -- the tree below the top directory
    directory_size  INTEGER CHECK (directory_size >= 0),  -- of the tree object
    no_directory    TEXT,                                 -- why there is none
    fetched_at      INTEGER,
    first_content   BLOB    CHECK (length(first_content) = 20), -- what the first fetch brought
    drifts          INTEGER NOT NULL DEFAULT 0 CHECK (drifts >= 0), -- fetches that brought other bytes
    drift_content   BLOB    CHECK (length(drift_content) = 20), -- what the last of these brought
    drifted_at      INTEGER,
    CHECK ((content IS NULL) = (fetched_at IS NULL)),
    CHECK (content IS NULL OR (directory IS NULL) <> (no_directory IS NULL)),
    CHECK ((drifts > 0) = (drifted_at IS NOT NULL))
) STRICT;

-- From which archives a directory can be cooked.
CREATE INDEX archiver_by_directory ON archiver_alias (directory, fetched_at) WHERE directory IS NOT NULL;
-- Which requests a content answers.
CREATE INDEX archiver_by_content ON archiver_alias (content) WHERE content IS NOT NULL;
-- When something was fetched last.
CREATE INDEX archiver_by_fetched_at ON archiver_alias (fetched_at) WHERE fetched_at IS NOT NULL;

-- The Archiver's tasks. Codes of `state`: 0 PENDING, 1 STARTED, 2 SUCCESS, 3 FAILURE, 4 RETRY (waits, as
-- PENDING does). A task that has ended is kept for a while, for those who ask for it.
CREATE TABLE archiver_task (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,     -- never reused
    id             TEXT    NOT NULL UNIQUE,               -- its name in URLs
    alias          INTEGER NOT NULL REFERENCES archiver_alias (id) ON DELETE CASCADE,
    host           TEXT    NOT NULL,                      -- of the upstream: fetches are bounded by it
    state          INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4),
    owner          TEXT    CHECK (owner <> ''),           -- the process that fetches
    created_at     INTEGER NOT NULL,
    waits_since    INTEGER NOT NULL,                      -- of PENDING and RETRY: what grows too long
    ready_at       INTEGER NOT NULL,                      -- its place in the queue, and its back-off
    ended_at       INTEGER,
    attempts       INTEGER NOT NULL DEFAULT 0,            -- tries that failed
    interruptions  INTEGER NOT NULL DEFAULT 0,            -- owners that died fetching
    fault          TEXT,                                  -- a word of `FaultCode`: why the last try failed
    message        TEXT,
    CHECK ((state = 1) = (owner IS NOT NULL)),
    CHECK ((state IN (2, 3)) = (ended_at IS NOT NULL)),
    CHECK ((fault IS NULL) = (message IS NULL)),
    CHECK (state <> 3 OR fault IS NOT NULL)
) STRICT;

-- One fetch of an archive at a time, whoever asks.
CREATE UNIQUE INDEX archiver_single_flight ON archiver_task (alias) WHERE ended_at IS NULL;
CREATE INDEX archiver_by_alias ON archiver_task (alias, seq);
CREATE INDEX archiver_ready ON archiver_task (host, ready_at, seq) WHERE state IN (0, 4);
CREATE INDEX archiver_waiting ON archiver_task (waits_since) WHERE state IN (0, 4);
CREATE INDEX archiver_by_owner ON archiver_task (owner) WHERE owner IS NOT NULL;
CREATE INDEX archiver_running ON archiver_task (host) WHERE owner IS NOT NULL;
CREATE INDEX archiver_ended ON archiver_task (ended_at) WHERE ended_at IS NOT NULL;

-- Where archives are beside the store: one row for each content in each region, from before it is put
-- there until after it was deleted there. Codes of `state`: 0 is to be put, 1 is there, 2 is to be
-- deleted. A row without an owner is looked at when it is due: put, seen after, or deleted.
CREATE TABLE archiver_placement (
    content     BLOB    NOT NULL CHECK (length(content) = 20),
    region      TEXT    NOT NULL CHECK (region <> ''),    -- its name in the settings
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    size        INTEGER NOT NULL CHECK (size >= 0),
    blake3      BLOB    NOT NULL CHECK (length(blake3) = 32),
    media_type  TEXT    NOT NULL,                         -- the object's Content-Type
    file_name   TEXT    NOT NULL,                         -- in the object's Content-Disposition
    put_at      INTEGER,                                  -- put, or last found there
    due_at      INTEGER NOT NULL,                         -- also its back-off
    owner       TEXT    CHECK (owner <> ''),              -- the process that is at it
    attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- failures since it last succeeded
    fault       TEXT,                                     -- the last of these, for people
    upload      TEXT,                                     -- a multipart upload that was begun; '' before it has a name
    PRIMARY KEY (content, region),
    CHECK (state <> 1 OR put_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX archiver_placement_due ON archiver_placement (region, due_at) WHERE owner IS NULL;
CREATE INDEX archiver_placement_by_owner ON archiver_placement (owner) WHERE owner IS NOT NULL;
-- What failed in a region, and is tried at once when that is back.
CREATE INDEX archiver_placement_failed ON archiver_placement (region, due_at)
    WHERE owner IS NULL AND attempts > 0;

-- How far the access log of the web server was read: one row for each file that it is, or was
-- rotated to. `position` moves in the transaction that notes the fetches up to it.
CREATE TABLE log (
    file      BLOB    PRIMARY KEY CHECK (length(file) = 32), -- BLAKE3 of its first line: rotation changes
                                                             -- its name, copying and packing its inode
    position  INTEGER NOT NULL CHECK (position >= 0),        -- bytes, as they were before packing
    whole     INTEGER NOT NULL CHECK (whole IN (0, 1)),      -- was read to its end packed: it cannot grow
    seen_at   INTEGER NOT NULL                               -- when it was last there
) STRICT, WITHOUT ROWID;

-- What was long gone is forgotten.
CREATE INDEX log_by_seen_at ON log (seen_at);

-- The snapshots known: all that larder has of one, for no archive holds it. Kept for ever, so that
-- what was once resolved can still be cooked and checked.
--
-- `manifest` is zstd. Snapshots of one origin differ little from one visit to the next, and their
-- manifests reach megabytes: with a `base` it refers to the bytes of that one, whose own base is
-- NULL, so that reading never takes more than two rows.
CREATE TABLE snapshot (
    id        BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 20),
    base      BLOB    REFERENCES snapshot (id) CHECK (base <> id),
    size      INTEGER NOT NULL CHECK (size >= 0),         -- of the manifest, unpacked
    manifest  BLOB    NOT NULL
) STRICT;

-- Repositories that have a URL: those mirrored, and those under a `git` archive.
CREATE TABLE origin (
    id          INTEGER PRIMARY KEY,
    url         TEXT    NOT NULL UNIQUE CHECK (url <> ''),
    local       INTEGER NOT NULL CHECK (local IN (0, 1)),  -- read where it lies; else mirrored
    added_at    INTEGER NOT NULL,
    visited_at  INTEGER,                                   -- last, whatever came of it
    visits      INTEGER NOT NULL DEFAULT 0 CHECK (visits >= 0), -- the newest `visit.number`
    stamp       INTEGER                                    -- of a local one: what its refs' files were like
) STRICT;

-- `larder origin visit --all`, in order of URL.
CREATE INDEX origin_mirrored ON origin (url) WHERE local = 0;

-- Where the secrets lie that private origins are visited with. No secret is in here.
CREATE TABLE credential (
    origin       INTEGER PRIMARY KEY REFERENCES origin (id) ON DELETE CASCADE,
    kind         INTEGER NOT NULL CHECK (kind IN (0, 1, 2)), -- token, netrc, SSH key
    file         BLOB    NOT NULL CHECK (file <> x''),       -- paths, as bytes
    user         TEXT,                                       -- sent with a token
    known_hosts  BLOB,                                       -- of an SSH key
    CHECK ((kind = 0) = (user IS NOT NULL)),
    CHECK (known_hosts IS NULL OR kind = 2)
) STRICT;

-- What came of visits. One that finds what the one before found moves `last_at` of its row: a row is
-- a change, however often somebody looks.
CREATE TABLE visit (
    origin    INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL CHECK (number > 0),         -- counted in each origin
    outcome   INTEGER NOT NULL CHECK (outcome IN (0, 1)),
    first_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    times     INTEGER NOT NULL DEFAULT 1 CHECK (times > 0), -- visits that found just this
    snapshot  BLOB    REFERENCES snapshot (id),
    message   TEXT,                                        -- why it failed, for people
    PRIMARY KEY (origin, number),
    CHECK ((outcome = 0) = (snapshot IS NOT NULL)),
    CHECK ((outcome = 1) = (message IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- The newest of each outcome.
CREATE INDEX visit_by_outcome ON visit (origin, outcome, number);

-- Objects that the operator has blocked: no bundle is one of them, or holds one.
CREATE TABLE block (
    sha1git     BLOB    PRIMARY KEY CHECK (length(sha1git) = 20),
    kind        INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 4),
    blocked_at  INTEGER NOT NULL,
    reason      TEXT,                                     -- for people; clients see it
    epoch       INTEGER NOT NULL                          -- that of the list when it was added
) STRICT, WITHOUT ROWID;

-- Whether anything was blocked since a cook was claimed.
CREATE INDEX block_by_epoch ON block (epoch);

-- Grows with every change of the list, so that who holds a copy knows whether it still is the list.
CREATE TABLE blocking (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    epoch  INTEGER NOT NULL
) STRICT;
INSERT INTO blocking VALUES (1, 0);

-- A file goes with its last name.
CREATE TRIGGER bundle_leaves_file AFTER UPDATE OF file ON bundle
WHEN OLD.file IS NOT NULL AND OLD.file IS NOT NEW.file BEGIN
    DELETE FROM file WHERE id = OLD.file AND NOT EXISTS (SELECT 1 FROM bundle WHERE file = OLD.file);
END;
CREATE TRIGGER bundle_removed AFTER DELETE ON bundle
WHEN OLD.file IS NOT NULL BEGIN
    UPDATE file SET pins = pins - 1 WHERE id = OLD.file AND OLD.pinned;
    DELETE FROM file WHERE id = OLD.file AND NOT EXISTS (SELECT 1 FROM bundle WHERE file = OLD.file);
END;

-- A content (kind 0, format 8) that is removed here is removed from every region; one whose file is
-- lost is brought back from one.
CREATE TRIGGER content_removed AFTER DELETE ON bundle
WHEN OLD.kind = 0 AND OLD.format = 8 BEGIN
    UPDATE archiver_placement SET state = 2, due_at = 0, attempts = 0 WHERE content = OLD.sha1git;
END;
CREATE TRIGGER content_lost AFTER UPDATE OF file ON bundle
WHEN OLD.kind = 0 AND OLD.format = 8 AND OLD.file IS NOT NULL AND NEW.file IS NULL BEGIN
    UPDATE archiver_placement SET due_at = 0 WHERE content = OLD.sha1git;
END;

-- A pin on one name holds the file.
CREATE TRIGGER bundle_added AFTER INSERT ON bundle
WHEN NEW.file IS NOT NULL AND NEW.pinned BEGIN
    UPDATE file SET pins = pins + 1 WHERE id = NEW.file;
END;
CREATE TRIGGER bundle_pin_moved AFTER UPDATE OF file, pinned ON bundle
WHEN OLD.file IS NOT NEW.file OR OLD.pinned <> NEW.pinned BEGIN
    UPDATE file SET pins = pins - 1 WHERE id = OLD.file AND OLD.pinned;
    UPDATE file SET pins = pins + 1 WHERE id = NEW.file AND NEW.pinned;
END;

-- A waiter whose root was removed goes back to the queue by itself.
CREATE TRIGGER cook_lost_root AFTER UPDATE OF root ON cook
WHEN OLD.root IS NOT NULL AND NEW.root IS NULL BEGIN
    UPDATE bundle SET status = 0 WHERE kind = NEW.kind AND sha1git = NEW.sha1git AND format = NEW.format;
END;

CREATE TRIGGER file_added AFTER INSERT ON file BEGIN
    UPDATE totals SET files = files + 1, allocated = allocated + NEW.allocated WHERE one = 1;
END;
CREATE TRIGGER file_removed AFTER DELETE ON file BEGIN
    UPDATE totals SET files = files - 1, allocated = allocated - OLD.allocated WHERE one = 1;
END;
CREATE TRIGGER file_changed AFTER UPDATE OF allocated ON file BEGIN
    UPDATE totals SET allocated = allocated - OLD.allocated + NEW.allocated WHERE one = 1;
END;
CREATE TRIGGER cook_added AFTER INSERT ON cook BEGIN
    UPDATE totals SET queued = queued + (NEW.owner IS NULL), running = running + (NEW.owner IS NOT NULL)
    WHERE one = 1;
END;
CREATE TRIGGER cook_removed AFTER DELETE ON cook BEGIN
    UPDATE totals SET queued = queued - (OLD.owner IS NULL), running = running - (OLD.owner IS NOT NULL)
    WHERE one = 1;
END;
CREATE TRIGGER cook_changed_hands AFTER UPDATE OF owner ON cook BEGIN
    UPDATE totals SET queued = queued - (OLD.owner IS NULL) + (NEW.owner IS NULL),
                      running = running - (OLD.owner IS NOT NULL) + (NEW.owner IS NOT NULL)
    WHERE one = 1;
END;
