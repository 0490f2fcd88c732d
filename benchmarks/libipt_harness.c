/* Decodes a trace with libipt, as a judge and as a measure of speed.
 *
 *     libipt_harness MODE TRACE MAP [--cpu F/M/S] [--no-hash] [--print] [--ips FILE] [--again]
 *
 * MODE  insn            instruction decoder; counts, hashes and lists addresses
 *       block           block decoder; counts
 *       packet          packet decoder; counts packets and TNT bits
 *       -callback       behind insn or block: memory comes from a callback only
 *       -files          behind insn or block: sections are files of the image, not of a section cache
 * MAP   lines "offset size vaddr path", numbers in hex; ignored in packet mode
 *
 * After an error decoding goes on at the next PSB. CPU time is that of decoding alone; --again decodes blocks
 * once more with the same image, whose cache knows the code by then. "peak" is by how many bytes resident
 * memory grew meanwhile. The output is one "name value" a line. --print writes every address in hex to standard
 * output first, --ips writes them as 64-bit little-endian numbers to FILE.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <intel-pt.h>

struct region {
	uint64_t vaddr, size;
	uint8_t *bytes;
};

struct outcome {
	uint64_t instructions, blocks, packets, tnt_bits, errors, rotated, fnv;
	uint64_t kinds[64];
	int hash, print;
	FILE *ips;
};

static struct region *regions;
static size_t region_count;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "libipt_harness: %s: %s: %s\n", what, name, strerror(errno));
	exit(2);
}

static void check(int status, const char *what)
{
	if (status < 0) {
		fprintf(stderr, "libipt_harness: %s: %s\n", what, pt_errstr(pt_errcode(status)));
		exit(2);
	}
}

static uint8_t *load(const char *name, uint64_t offset, uint64_t *size)
{
	FILE *file = fopen(name, "rb");
	uint8_t *bytes;
	long end;

	if (!file || fseek(file, 0, SEEK_END))
		die("open", name);
	end = ftell(file);
	if (end < 0 || (uint64_t) end < offset)
		die("size", name);
	if (*size > (uint64_t) end - offset)
		*size = (uint64_t) end - offset;
	bytes = malloc(*size ? *size : 1);
	if (!bytes || fseek(file, (long) offset, SEEK_SET) || fread(bytes, 1, *size, file) != *size)
		die("read", name);
	fclose(file);
	return bytes;
}

static double cpu_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return time.tv_sec + time.tv_nsec * 1e-9;
}

/* A line of /proc/self/status, in bytes; 0 where there is none. */
static uint64_t memory(const char *name)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	uint64_t kilobytes = 0;

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %" SCNu64, &kilobytes);
	if (status)
		fclose(status);
	return kilobytes * 1024;
}

static int read_memory(uint8_t *buffer, size_t size, const struct pt_asid *asid, uint64_t ip, void *context)
{
	size_t index;

	(void) asid, (void) context;
	/* The last one added is seen, as in an image. */
	for (index = region_count; index-- > 0;) {
		const struct region *region = &regions[index];
		uint64_t offset = ip - region->vaddr;

		if (ip < region->vaddr || offset >= region->size)
			continue;
		if (size > region->size - offset)
			size = region->size - offset;
		memcpy(buffer, region->bytes + offset, size);
		return (int) size;
	}
	return -pte_nomap;
}

static void add_regions(const char *name, struct pt_image *image, struct pt_image_section_cache *cache, int files)
{
	FILE *map = fopen(name, "r");
	char line[8192], path[4096];
	uint64_t offset, size, vaddr;

	if (!map)
		die("open", name);
	while (fgets(line, sizeof(line), map)) {
		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64 " %4095[^\n]", &offset, &size, &vaddr, path) != 4)
			continue;
		if (cache) {
			int isid = pt_iscache_add_file(cache, path, offset, size, vaddr);

			check(isid, path);
			check(pt_image_add_cached(image, cache, isid, NULL), path);
		} else if (files) {
			check(pt_image_add_file(image, path, offset, size, NULL, vaddr), path);
		} else {
			regions = realloc(regions, (region_count + 1) * sizeof(*regions));
			if (!regions)
				die("memory", name);
			regions[region_count].vaddr = vaddr;
			regions[region_count].bytes = load(path, offset, &size);
			regions[region_count++].size = size;
		}
	}
	fclose(map);
	if (!cache && !files)
		check(pt_image_set_callback(image, read_memory, NULL), "callback");
}

static inline void executed(struct outcome *outcome, uint64_t ip)
{
	outcome->instructions++;
	if (outcome->hash) {
		uint64_t fnv = outcome->fnv, rotated = outcome->rotated;
		int byte;

		outcome->rotated = (((rotated << 5) | (rotated >> 59)) ^ ip) * 0x9E3779B97F4A7C15ull;
		for (byte = 0; byte < 8; byte++)
			fnv = (fnv ^ (ip >> (8 * byte) & 0xff)) * 1099511628211ull;
		outcome->fnv = fnv;
	}
	if (outcome->print)
		printf("%" PRIx64 "\n", ip);
	if (outcome->ips)
		fwrite(&ip, sizeof(ip), 1, outcome->ips);
}

static void failed(struct outcome *outcome, int status)
{
	int code = pt_errcode(status);

	outcome->errors++;
	if (code >= 0 && code < 64)
		outcome->kinds[code]++;
}

static void decode_insn(struct pt_insn_decoder *decoder, struct outcome *outcome)
{
	uint64_t last = 0, offset;
	struct pt_event event;
	struct pt_insn insn;
	int status;

	for (;;) {
		status = pt_insn_sync_forward(decoder);
		if (status == -pte_eos)
			return;
		while (status >= 0) {
			while (status >= 0 && status & pts_event_pending)
				status = pt_insn_event(decoder, &event, sizeof(event));
			if (status < 0)
				break;
			if (status & pts_eos) {
				status = -pte_eos;
				break;
			}
			insn.iclass = ptic_error;
			status = pt_insn_next(decoder, &insn, sizeof(insn));
			/* Even with an error the instruction may have been decoded. */
			if (status >= 0 || insn.iclass != ptic_error)
				executed(outcome, insn.ip);
		}
		if (status != -pte_eos) {
			failed(outcome, status);
			/* Without progress there never will be any. */
			if (pt_insn_get_sync_offset(decoder, &offset) < 0 || (offset < last))
				return;
			last = offset;
		}
	}
}

static void decode_block(struct pt_block_decoder *decoder, struct outcome *outcome)
{
	uint64_t last = 0, offset;
	struct pt_event event;
	struct pt_block block;
	int status;

	for (;;) {
		status = pt_blk_sync_forward(decoder);
		if (status == -pte_eos)
			return;
		while (status >= 0) {
			while (status >= 0 && status & pts_event_pending)
				status = pt_blk_event(decoder, &event, sizeof(event));
			if (status < 0)
				break;
			if (status & pts_eos) {
				status = -pte_eos;
				break;
			}
			block.ninsn = 0;
			status = pt_blk_next(decoder, &block, sizeof(block));
			outcome->instructions += block.ninsn;
			outcome->blocks += block.ninsn != 0;
		}
		if (status != -pte_eos) {
			failed(outcome, status);
			if (pt_blk_get_sync_offset(decoder, &offset) < 0 || offset < last)
				return;
			last = offset;
		}
	}
}

static void decode_packets(struct pt_packet_decoder *decoder, struct outcome *outcome)
{
	struct pt_packet packet;
	int status;

	while ((status = pt_pkt_sync_forward(decoder)) >= 0) {
		while ((status = pt_pkt_next(decoder, &packet, sizeof(packet))) >= 0) {
			outcome->packets++;
			if (packet.type == ppt_tnt_8 || packet.type == ppt_tnt_64)
				outcome->tnt_bits += packet.payload.tnt.bit_size;
		}
		if (status != -pte_eos)
			failed(outcome, status);
	}
}

int main(int argc, char **argv)
{
	struct outcome outcome = { .hash = 1, .fnv = 1469598103934665603ull };
	struct pt_image_section_cache *cache = NULL;
	struct pt_config config;
	struct pt_image *image;
	uint64_t size = UINT64_MAX;
	const char *mode;
	double start = 0, seconds, seconds_again = 0;
	uint64_t resident = 0;
	int index, again = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: %s insn|block[-callback|-files]|packet TRACE MAP [--cpu F/M/S] [--no-hash] "
			"[--print] [--ips FILE] [--again]\n", argv[0]);
		return 2;
	}
	mode = argv[1];
	pt_config_init(&config);
	for (index = 4; index < argc; index++) {
		if (!strcmp(argv[index], "--no-hash"))
			outcome.hash = 0;
		else if (!strcmp(argv[index], "--print"))
			outcome.print = 1;
		else if (!strcmp(argv[index], "--again"))
			again = 1;
		else if (!strcmp(argv[index], "--ips") && index + 1 < argc) {
			outcome.ips = fopen(argv[++index], "wb");
			if (!outcome.ips)
				die("open", argv[index]);
		} else if (!strcmp(argv[index], "--cpu") && index + 1 < argc) {
			unsigned int family, model, stepping = 0;

			if (sscanf(argv[++index], "%u/%u/%u", &family, &model, &stepping) < 2) {
				fprintf(stderr, "libipt_harness: not a cpu: %s\n", argv[index]);
				return 2;
			}
			config.cpu.vendor = pcv_intel;
			config.cpu.family = (uint16_t) family;
			config.cpu.model = (uint8_t) model;
			config.cpu.stepping = (uint8_t) stepping;
			check(pt_cpu_errata(&config.errata, &config.cpu), "cpu");
		} else {
			fprintf(stderr, "libipt_harness: unknown option: %s\n", argv[index]);
			return 2;
		}
	}
	config.begin = load(argv[2], 0, &size);
	config.end = config.begin + size;
	image = pt_image_alloc("traced");
	if (!image)
		die("image", argv[3]);
	if (strcmp(mode, "packet")) {
		int files = strstr(mode, "-files") != NULL;

		if (!files && !strstr(mode, "-callback"))
			cache = pt_iscache_alloc("code");
		add_regions(argv[3], image, cache, files);
	}

	resident = memory("VmRSS");
	if (!strncmp(mode, "insn", 4)) {
		struct pt_insn_decoder *decoder = pt_insn_alloc_decoder(&config);

		if (!decoder)
			die("decoder", mode);
		check(pt_insn_set_image(decoder, image), "image");
		start = cpu_seconds();
		decode_insn(decoder, &outcome);
		seconds = cpu_seconds() - start;
		pt_insn_free_decoder(decoder);
	} else if (!strncmp(mode, "block", 5)) {
		struct pt_block_decoder *decoder = pt_blk_alloc_decoder(&config);

		if (!decoder)
			die("decoder", mode);
		check(pt_blk_set_image(decoder, image), "image");
		outcome.hash = 0;
		start = cpu_seconds();
		decode_block(decoder, &outcome);
		seconds = cpu_seconds() - start;
		pt_blk_free_decoder(decoder);
		if (again) {
			struct outcome second = { .hash = 0 };

			decoder = pt_blk_alloc_decoder(&config);
			if (!decoder)
				die("decoder", mode);
			check(pt_blk_set_image(decoder, image), "image");
			start = cpu_seconds();
			decode_block(decoder, &second);
			seconds_again = cpu_seconds() - start;
			pt_blk_free_decoder(decoder);
		}
	} else if (!strcmp(mode, "packet")) {
		struct pt_packet_decoder *decoder = pt_pkt_alloc_decoder(&config);

		if (!decoder)
			die("decoder", mode);
		outcome.hash = 0;
		start = cpu_seconds();
		decode_packets(decoder, &outcome);
		seconds = cpu_seconds() - start;
		pt_pkt_free_decoder(decoder);
	} else {
		fprintf(stderr, "libipt_harness: unknown mode: %s\n", mode);
		return 2;
	}

	printf("instructions %" PRIu64 "\nblocks %" PRIu64 "\npackets %" PRIu64 "\ntnt_bits %" PRIu64 "\nerrors %" PRIu64 "\n",
	       outcome.instructions, outcome.blocks, outcome.packets, outcome.tnt_bits, outcome.errors);
	for (index = 0; index < 64; index++)
		if (outcome.kinds[index])
			printf("error_%d %" PRIu64 "\n", index, outcome.kinds[index]);
	if (outcome.hash)
		printf("hash %016" PRIx64 "\nfnv %016" PRIx64 "\n", outcome.rotated, outcome.fnv);
	printf("seconds %.6f\npeak %" PRIu64 "\n", seconds, memory("VmHWM") - resident);
	if (again)
		printf("seconds_again %.6f\n", seconds_again);
	if (outcome.ips && fclose(outcome.ips))
		die("write", "ips");
	pt_image_free(image);
	if (cache)
		pt_iscache_free(cache);
	return 0;
}
