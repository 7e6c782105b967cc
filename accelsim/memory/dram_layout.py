"""Where everything stands in the one int64 array that is the state of a DRAM.

The array begins with a header (configuration and global state); then come records for channels,
ranks, bank groups, banks and queue entries, and the port table. A record is named by the index of
its first word, so a link between records is an index; 0 is "none", because the header stands there.
`m[bank + B_ROW]` is the open row of a bank. Times are DRAM clocks.
"""

from __future__ import annotations

NEVER = 1 << 60
"""A clock that never comes."""

# --- header: organisation and policies ---
C_CHANNELS = 0
C_RANKS = 1
C_BANKS = 2  # per channel
C_PORTS = 3
C_BURST_SHIFT = 4  # log2 of bytes per burst
C_READ_QUEUE = 5
C_WRITE_QUEUE = 6
C_DRAIN_ABOVE = 7  # writes are drained when more than this many wait
C_DRAIN_BELOW = 8  # and until fewer than this many do
C_DRAIN_CAP = 9  # at most so many in a row while reads wait
C_ROW_HIT_FIRST = 10
C_CLOSED = 11  # close a row with its last queued access
C_DUAL_BUS = 12  # row and column commands have a bus each
C_ACT_CLOCKS = 13
C_REFRESH = 14
C_POSTED = 15  # a write is complete when it is queued

# --- header: timing ---
C_BL = 16
C_CL = 17
C_CWL = 18
C_RCD_RD = 19
C_RCD_WR = 20
C_RP = 21
C_RP_ALL = 22
C_RAS = 23
C_RC = 24
C_CCD_S = 25
C_CCD_L = 26
C_RRD_S = 27
C_RRD_L = 28
C_FAW = 29
C_WR = 30
C_WTR_S = 31
C_WTR_L = 32
C_RTP = 33
C_RFC = 34
C_REFI = 35
C_RTW = 36
C_CS = 37
C_PPD = 38
C_BANK_QUEUES = 39  # 0, or the depth of the command queue of each bank

# --- header: global state ---
M_CLOCK = 40  # everything up to here has happened
M_TAKE = 41  # next clock in which a port may hand over a burst
M_SEQUENCE = 42
M_WORK = 43  # queued bursts
M_FEED = 44  # transfers that still have bursts to hand over
M_DONE_HEAD = 45  # finished transfers by time: row of the transfer table, or -1
M_DONE_TAIL = 46
M_TURN = 47
M_LOGGED = 48
M_WINDOW_SHIFT = 49  # log2 of the clocks in one window of the profile
M_CHANNEL0 = 50
M_PORT0 = 51
M_PROFILE = 52
M_BANK0 = 53

M_MAP = 54  # the address map: a table for each byte of a burst number
C_BANK_BITS = 55  # of the number of a bank, which stand below the row in the words of these tables
C_ROW_CAP = 56  # with bank queues: a row with so many accesses may be closed although more wait for it
C_DRAIN_IDLE = 57  # with bank queues: more writes than this are drained when all of them are empty
HEADER = 58

MAP_TABLE = 256

PROFILE_WINDOWS = 512
PROFILE_WIDTH = 3  # read clocks, write clocks, row hits

# --- channel ---
H_NEXT = 0  # next clock in which a command may become possible
H_WRITING = 1
H_QUEUED = 2  # reads; +1 writes
H_FREE = 4
H_BUS = 5  # first clock with a free (row) command bus
H_REFRESH_AT = 6
H_REFRESH_WAITS = 7  # ranks that are due
H_REFRESH_RANK = 8
H_TAKEN = 9  # last clock in which a burst was taken
H_DRAINED = 10
H_RANK0 = 11
H_BANK0 = 12
H_FILTER = 13  # how many queued reads and how many writes have each residue of the burst number
H_HITS = 19
H_MISSES = 20
H_CONFLICTS = 21
H_ACTIVATES = 22
H_PRECHARGES = 23
H_PRECHARGE_ALLS = 24
H_REFRESHES = 25
H_COLUMNS = 26  # reads; +1 writes
H_FORWARDED = 28
H_MERGED = 29
H_LATENCY = 30  # sum over reads, acceptance to last data
H_LATENCY_MAX = 31
H_LAST_READ_DATA = 32
H_LAST_WRITE = 33
H_INDEX = 34
H_AUTO_PRECHARGES = 35
H_COMMAND = 36  # what the scheduler has chosen: a command,
H_PLACE = 37  # its bank or rank,
H_ENTRY = 38  # and the request that it serves
H_WAITING = 39  # with bank queues: oldest read that has not reached its bank's; +1 write; +2 newest read; +3 write
H_IN_BANKS = 43  # with bank queues: how many have
H_TURN = 44  # with bank queues: number of the bank that issued last
H_OWED = 45  # reads that go before the next write, because they had to wait for drain_cap
H_SOON = 46  # with bank queues: where the first clocks at which each of them may have a command stand
H_STUCK = 47  # with bank queues: no waiting request has room in its bank's
CHANNEL_WORDS = 48

FILTER_SIZE = 128

# --- rank ---
R_ACT = 0
R_PRE = 1
R_COLUMN = 2  # read; +1 write
R_PRE_ALL = 4
R_REFRESH = 5
R_WINDOW = 6  # the last four activates
R_WINDOW_AT = 10
R_OPEN = 11
R_OPEN_SINCE = 12
R_OPEN_CLOCKS = 13
R_CLOSED_AT = 14
R_BANK0 = 15
R_BANKS = 16
R_CHANNEL = 17
R_LISTS = 18
R_COUNT = 19  # seven of them
R_SOON = 26  # for each list, a clock before which no bank on it is ready, gates of the rank apart
RANK_WORDS = 33

# --- lists of the banks of a rank, by what they need; those of reads, +1 those of writes ---
HITS = 0  # a column command
CLOSES = 2  # a precharge
OPENS = 4  # an activate
OPENED = 6  # the column command for which the row was opened
LISTS = 7

# --- bank group ---
G_ACT = 0
G_COLUMN = 1  # read; +1 write
GROUP_WORDS = 3

# --- bank ---
B_ACT = 0
B_PRE = 1
B_COLUMN = 2  # read; +1 write
B_ROW = 4  # -1: closed
B_GROUP = 5
B_RANK = 6
B_CHANNEL = 7
B_OPENED = 8  # the entry for which the row was opened and that has not been served yet
B_HEAD = 9  # oldest queued read; +1 write
B_TAIL = 11  # newest; two words after B_HEAD, as `append` expects
B_HIT = 13  # oldest to the open row
B_MISS = 15  # oldest to another row
B_PLACE = 17  # place in each of the seven lists, counted from 1, or 0
B_INDEX = 24
B_NEEDS = 25  # by reads, +1 by writes: on which of the lists it is, one bit each
B_DEPTH = 27  # with bank queues: entries in it, all in the list that otherwise holds reads
B_ACCESSES = 28  # since the row was opened
BANK_WORDS = 29

# --- queue entry ---
E_ROW = 0
E_BURST = 1
E_SEQUENCE = 2
E_NEXT = 3
E_PREVIOUS = 4
E_TRANSFER = 5  # row of the transfer table, or -1: nobody waits
E_COUNTED = 6
E_ARRIVED = 7
E_WRITE = 8
E_BANK = 9
ENTRY_WORDS = 10

# --- port ---
P_HEAD = 0
P_TAIL = 1
PORT_WORDS = 2

# --- transfer table: a record, too, is named by the index of its first word; -1 is none ---
T_BASE = 0
T_WRITE = 1
T_ARRIVES = 2
T_ID = 3
T_ROW_BYTES = 4
T_ROW_STRIDE = 5
T_ROWS = 6
T_PLANE_STRIDE = 7
T_PLANES = 8
T_PLANE = 9
T_ROW = 10
T_BURST = 11  # next burst to hand over
T_LAST = 12  # last burst of this piece
T_WAITS = 13  # bursts handed over and not complete
T_OPEN = 14  # more bursts to hand over
T_DONE = 15
T_FOLLOWER = 16  # next transfer of the same port
T_LATER = 17  # in the list of finished transfers
T_EARLIER = 18
T_BANK = 19  # where T_BURST lies
T_BANK_ROW = 20
TRANSFER_WORDS = 21

# --- commands, as they stand in the log; from RD on, bit 0 says write and bit 1 says auto-precharge ---
PRE = 0
ACT = 1
PREA = 2
REF = 3
RD = 4
WR = 5
RDA = 6
WRA = 7
COMMAND_NAMES = ("PRE", "ACT", "PREA", "REF", "RD", "WR", "RDA", "WRA")

LOG_WORDS = 6  # clock, channel, command, bank (PREA and REF: first bank of the rank), row, burst
