/* Decodes many small traces with libipt and says all it saw, as a judge.
 *
 *     libipt_streams CASES FIRST
 *
 * CASES holds cases one after another, each a head of 64-bit little-endian numbers (struct head), a
 * struct piece for every section, the bytes of the sections and the bytes of the trace, filled up to a
 * multiple of eight bytes. Cases before number FIRST are passed over. For every case comes a line "case N", one line for everything that
 * libipt's calls gave, and a line "done". A line of the output is NAME FIELDS | STATUS OFFSET.
 *
 * A case that takes more than two seconds ends the process, as a crash of libipt does: whoever reads
 * the output misses the "done" and begins again behind that case.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <intel-pt.h>

enum { QUERY, INSTRUCTION, BLOCK };
enum { END_ON_CALL = 1, TICK_EVENTS = 2, END_ON_JUMP = 4 };
enum { BY_FILE, BY_CACHE, BY_CALLBACK };

/* So much of a case is listed at most. */
enum { MOST_INSTRUCTIONS = 1500, MOST_CALLS = 6000 };

struct head {
	uint64_t layer, flags, errata, eax, ebx, mtc_freq, nom_freq;
	uint64_t addr_cfg, ranges[8];
	uint64_t pieces, trace;
};

struct piece {
	uint64_t vaddr, cr3, kind, size;
};

/* What a case is about. */
struct job {
	struct pt_config config;
	struct pt_image *image;
	const struct piece *pieces;
	const uint8_t *bytes;
	uint64_t count;
	uint64_t flags;
};

static const char *const events[] = {
	"enabled", "disabled", "async_disabled", "async_branch", "paging", "async_paging", "overflow",
	"exec_mode", "tsx", "stop", "vmcs", "async_vmcs", "exstop", "mwait", "pwre", "pwrx", "ptwrite",
	"tick", "cbr", "mnt",
};

static void print_event(const struct pt_event *event)
{
	uint64_t ip = 0;
	int has_ip = 1;

	printf("%s", event->type <= ptev_mnt ? events[event->type] : "unknown");
	switch (event->type) {
	case ptev_enabled:
		ip = event->variant.enabled.ip;
		printf(" resumed=%u", event->variant.enabled.resumed);
		break;
	case ptev_disabled:
		ip = event->variant.disabled.ip;
		break;
	case ptev_async_disabled:
		ip = event->variant.async_disabled.ip;
		printf(" at=%" PRIx64, event->variant.async_disabled.at);
		break;
	case ptev_async_branch:
		ip = event->variant.async_branch.to;
		printf(" from=%" PRIx64, event->variant.async_branch.from);
		break;
	case ptev_paging:
		printf(" cr3=%" PRIx64 " nr=%u", event->variant.paging.cr3, event->variant.paging.non_root);
		has_ip = 0;
		break;
	case ptev_async_paging:
		ip = event->variant.async_paging.ip;
		printf(" cr3=%" PRIx64 " nr=%u", event->variant.async_paging.cr3,
		       event->variant.async_paging.non_root);
		break;
	case ptev_overflow:
		ip = event->variant.overflow.ip;
		break;
	case ptev_exec_mode:
		ip = event->variant.exec_mode.ip;
		printf(" mode=%d", (int) event->variant.exec_mode.mode);
		break;
	case ptev_tsx:
		ip = event->variant.tsx.ip;
		printf(" speculative=%u aborted=%u", event->variant.tsx.speculative, event->variant.tsx.aborted);
		break;
	case ptev_vmcs:
		printf(" base=%" PRIx64, event->variant.vmcs.base);
		has_ip = 0;
		break;
	case ptev_async_vmcs:
		ip = event->variant.async_vmcs.ip;
		printf(" base=%" PRIx64, event->variant.async_vmcs.base);
		break;
	case ptev_exstop:
		ip = event->variant.exstop.ip;
		break;
	case ptev_mwait:
		ip = event->variant.mwait.ip;
		printf(" hints=%x ext=%x", event->variant.mwait.hints, event->variant.mwait.ext);
		break;
	case ptev_pwre:
		printf(" state=%u.%u hw=%u", event->variant.pwre.state, event->variant.pwre.sub_state,
		       event->variant.pwre.hw);
		has_ip = 0;
		break;
	case ptev_pwrx:
		printf(" last=%u deepest=%u reason=%u%u%u", event->variant.pwrx.last, event->variant.pwrx.deepest,
		       event->variant.pwrx.interrupt, event->variant.pwrx.store, event->variant.pwrx.autonomous);
		has_ip = 0;
		break;
	case ptev_ptwrite:
		ip = event->variant.ptwrite.ip;
		printf(" size=%u payload=%" PRIx64, event->variant.ptwrite.size, event->variant.ptwrite.payload);
		break;
	case ptev_tick:
		ip = event->variant.tick.ip;
		break;
	case ptev_cbr:
		printf(" ratio=%u", event->variant.cbr.ratio);
		has_ip = 0;
		break;
	case ptev_mnt:
		printf(" payload=%" PRIx64, event->variant.mnt.payload);
		has_ip = 0;
		break;
	default:
		has_ip = 0;
		break;
	}
	if (has_ip && event->ip_suppressed)
		printf(" suppressed");
	else if (has_ip)
		printf(" ip=%" PRIx64, ip);
	if (event->status_update)
		printf(" status");
	printf(" tsc=%" PRIx64 "%s mtc=%u cyc=%u", event->tsc, event->has_tsc ? "" : "?", event->lost_mtc,
	       event->lost_cyc);
}

/* Closes a line: what the call returned and where the decoder stands. */
static void print_end(int status, uint64_t offset)
{
	if (status < 0)
		printf(" | -%d %" PRIx64 "\n", -status, offset);
	else
		printf(" | %d %" PRIx64 "\n", status, offset);
}

static void query(const struct job *job)
{
	struct pt_query_decoder *decoder = pt_qry_alloc_decoder(&job->config);
	int calls, status = -pte_nosync;

	for (calls = 0; decoder && calls < MOST_CALLS; calls++) {
		struct pt_event event;
		uint64_t ip = 0, offset = 0;
		int taken = 0;

		if (status < 0) {
			status = pt_qry_sync_forward(decoder, &ip);
			(void) pt_qry_get_sync_offset(decoder, &offset);
			printf("sync ip=%" PRIx64, ip);
			print_end(status, offset);
			if (status == -pte_eos)
				break;
		} else if (status & pts_event_pending) {
			memset(&event, 0, sizeof(event));
			status = pt_qry_event(decoder, &event, sizeof(event));
			if (status < 0)
				printf("error");
			else
				print_event(&event);
			(void) pt_qry_get_offset(decoder, &offset);
			print_end(status, offset);
		} else {
			status = pt_qry_cond_branch(decoder, &taken);
			if (status >= 0)
				printf("bit %d", taken);
			else if (status == -pte_bad_query) {
				status = pt_qry_indirect_branch(decoder, &ip);
				if (status < 0)
					printf("error");
				else if (status & pts_ip_suppressed)
					printf("tip suppressed");
				else
					printf("tip ip=%" PRIx64, ip);
			} else
				printf("error");
			(void) pt_qry_get_offset(decoder, &offset);
			print_end(status, offset);
		}
	}
	pt_qry_free_decoder(decoder);
}

static void instruction(const struct job *job)
{
	struct pt_insn_decoder *decoder = pt_insn_alloc_decoder(&job->config);
	int calls, instructions = 0, status = -pte_nosync;

	if (decoder)
		(void) pt_insn_set_image(decoder, job->image);
	for (calls = 0; decoder && calls < MOST_CALLS && instructions < MOST_INSTRUCTIONS; calls++) {
		uint64_t offset = 0;

		if (status < 0) {
			status = pt_insn_sync_forward(decoder);
			(void) pt_insn_get_sync_offset(decoder, &offset);
			printf("sync");
			if (status == -pte_eos) {
				print_end(status, offset);
				break;
			}
		} else if (status & pts_event_pending) {
			struct pt_event event;

			memset(&event, 0, sizeof(event));
			status = pt_insn_event(decoder, &event, sizeof(event));
			if (status < 0)
				printf("error");
			else
				print_event(&event);
			(void) pt_insn_get_offset(decoder, &offset);
		} else {
			struct pt_insn insn;
			int byte;

			memset(&insn, 0, sizeof(insn));
			status = pt_insn_next(decoder, &insn, sizeof(insn));
			/* An instruction may have been executed although what follows it fails. */
			if (status >= 0 || insn.iclass != ptic_error) {
				printf("step ip=%" PRIx64 " isid=%d mode=%d class=%d raw=", insn.ip, insn.isid,
				       (int) insn.mode, (int) insn.iclass);
				for (byte = 0; byte < insn.size; byte++)
					printf("%02x", insn.raw[byte]);
				printf("%s%s", insn.speculative ? " speculative" : "",
				       insn.truncated ? " truncated" : "");
				instructions++;
			}
			if (status < 0) {
				if (insn.iclass != ptic_error)
					print_end(0, 0);
				printf("error ip=%" PRIx64, insn.ip);
			}
			(void) pt_insn_get_offset(decoder, &offset);
		}
		print_end(status, offset);
	}
	pt_insn_free_decoder(decoder);
}

static void block(const struct job *job)
{
	struct pt_block_decoder *decoder = pt_blk_alloc_decoder(&job->config);
	int calls, instructions = 0, status = -pte_nosync;

	if (decoder)
		(void) pt_blk_set_image(decoder, job->image);
	for (calls = 0; decoder && calls < MOST_CALLS && instructions < MOST_INSTRUCTIONS; calls++) {
		uint64_t offset = 0;

		if (status < 0) {
			status = pt_blk_sync_forward(decoder);
			(void) pt_blk_get_sync_offset(decoder, &offset);
			printf("sync");
			if (status == -pte_eos) {
				print_end(status, offset);
				break;
			}
		} else if (status & pts_event_pending) {
			struct pt_event event;

			memset(&event, 0, sizeof(event));
			status = pt_blk_event(decoder, &event, sizeof(event));
			if (status < 0)
				printf("error");
			else
				print_event(&event);
			(void) pt_blk_get_offset(decoder, &offset);
		} else {
			struct pt_block found;
			int byte;

			memset(&found, 0, sizeof(found));
			status = pt_blk_next(decoder, &found, sizeof(found));
			if (status < 0)
				printf("error ");
			printf("block ninsn=%u", found.ninsn);
			if (found.ninsn)
				printf(" ip=%" PRIx64 " end=%" PRIx64 " isid=%d mode=%d class=%d", found.ip, found.end_ip,
				       found.isid, (int) found.mode, (int) found.iclass);
			if (found.ninsn && found.truncated) {
				printf(" raw=");
				for (byte = 0; byte < found.size; byte++)
					printf("%02x", found.raw[byte]);
			}
			printf("%s%s", found.ninsn && found.speculative ? " speculative" : "",
			       found.ninsn && found.truncated ? " truncated" : "");
			instructions += found.ninsn;
			(void) pt_blk_get_offset(decoder, &offset);
		}
		print_end(status, offset);
	}
	pt_blk_free_decoder(decoder);
}

static int read_memory(uint8_t *buffer, size_t size, const struct pt_asid *asid, uint64_t ip, void *context)
{
	const struct job *job = context;
	const uint8_t *bytes = job->bytes;
	uint64_t index;

	(void) asid;
	for (index = 0; index < job->count; index++) {
		const struct piece *piece = &job->pieces[index];
		uint64_t offset = ip - piece->vaddr;

		if (piece->kind == BY_CALLBACK && ip >= piece->vaddr && offset < piece->size) {
			if (size > piece->size - offset)
				size = piece->size - offset;
			memcpy(buffer, bytes + offset, size);
			return (int) size;
		}
		bytes += piece->size;
	}
	return -pte_nomap;
}

static void set_errata(struct pt_errata *errata, uint64_t bits)
{
	errata->bdm70 = bits & 1;
	errata->bdm64 = bits >> 1 & 1;
	errata->skd007 = bits >> 2 & 1;
	errata->skd022 = bits >> 3 & 1;
	errata->skd010 = bits >> 4 & 1;
	errata->skl014 = bits >> 5 & 1;
	errata->apl12 = bits >> 6 & 1;
	errata->apl11 = bits >> 7 & 1;
	errata->skl168 = bits >> 8 & 1;
	errata->skz84 = bits >> 9 & 1;
}

/* Decodes one case; FILE is where it stands, for the sections that are pieces of files. */
static void decode(const struct head *head, const char *file, const uint8_t *start)
{
	struct pt_image_section_cache *cache = pt_iscache_alloc(NULL);
	struct pt_image *image = pt_image_alloc(NULL);
	struct job job;
	const uint8_t *bytes;
	uint8_t *trace;
	uint64_t index;

	memset(&job, 0, sizeof(job));
	job.pieces = (const struct piece *) (head + 1);
	job.count = head->pieces;
	job.bytes = bytes = (const uint8_t *) (job.pieces + head->pieces);
	job.image = image;
	job.flags = head->flags;
	for (index = 0; index < head->pieces; index++) {
		const struct piece *piece = &job.pieces[index];
		uint64_t offset = (uint64_t) (bytes - start);
		struct pt_asid asid;

		pt_asid_init(&asid);
		asid.cr3 = piece->cr3;
		if (piece->kind == BY_FILE)
			(void) pt_image_add_file(image, file, offset, piece->size, &asid, piece->vaddr);
		else if (piece->kind == BY_CACHE) {
			int isid = pt_iscache_add_file(cache, file, offset, piece->size, piece->vaddr);

			(void) pt_image_add_cached(image, cache, isid, &asid);
		}
		bytes += piece->size;
	}
	(void) pt_image_set_callback(image, read_memory, &job);
	/* PSB are searched for at aligned addresses. */
	trace = malloc(head->trace + 1);
	if (!trace)
		exit(2);
	memcpy(trace, bytes, head->trace);
	pt_config_init(&job.config);
	job.config.begin = trace;
	job.config.end = trace + head->trace;
	job.config.cpu.vendor = pcv_intel;
	set_errata(&job.config.errata, head->errata);
	job.config.cpuid_0x15_eax = (uint32_t) head->eax;
	job.config.cpuid_0x15_ebx = (uint32_t) head->ebx;
	job.config.mtc_freq = (uint8_t) head->mtc_freq;
	job.config.nom_freq = (uint8_t) head->nom_freq;
	job.config.addr_filter.config.addr_cfg = head->addr_cfg;
	memcpy(&job.config.addr_filter.addr0_a, head->ranges, sizeof(head->ranges));
	if (head->layer == QUERY)
		query(&job);
	else if (head->layer == INSTRUCTION) {
		job.config.flags.variant.insn.enable_tick_events = (head->flags & TICK_EVENTS) != 0;
		instruction(&job);
	} else {
		job.config.flags.variant.block.end_on_call = (head->flags & END_ON_CALL) != 0;
		job.config.flags.variant.block.enable_tick_events = (head->flags & TICK_EVENTS) != 0;
		job.config.flags.variant.block.end_on_jump = (head->flags & END_ON_JUMP) != 0;
		block(&job);
	}
	pt_image_free(image);
	pt_iscache_free(cache);
	free(trace);
}

int main(int argc, char **argv)
{
	struct itimerval limit = { .it_value = { .tv_sec = 2 } };
	const struct head *head;
	const uint8_t *start, *at, *end;
	uint64_t nth, first;
	struct stat stat;
	int file;

	if (argc != 3) {
		fprintf(stderr, "usage: %s CASES FIRST\n", argv[0]);
		return 2;
	}
	first = strtoull(argv[2], NULL, 10);
	file = open(argv[1], O_RDONLY);
	if (file < 0 || fstat(file, &stat)) {
		perror(argv[1]);
		return 2;
	}
	start = mmap(NULL, (size_t) stat.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (start == MAP_FAILED) {
		perror(argv[1]);
		return 2;
	}
	at = start;
	end = start + stat.st_size;
	for (nth = 0; at < end; nth++) {
		const struct piece *pieces;
		uint64_t index;

		head = (const struct head *) at;
		if (nth >= first) {
			printf("case %" PRIu64 "\n", nth);
			fflush(stdout);
			setitimer(ITIMER_REAL, &limit, NULL);
			decode(head, argv[1], start);
			printf("done\n");
		}
		pieces = (const struct piece *) (head + 1);
		at = (const uint8_t *) (pieces + head->pieces);
		for (index = 0; index < head->pieces; index++)
			at += pieces[index].size;
		at += head->trace;
		at += -(uintptr_t) (at - start) % 8;
	}
	return 0;
}
