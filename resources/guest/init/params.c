/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel command line, and the verdict of the run. See params.h. */
#include "params.h"

#include "text.h"

static char words[4096]; /* zero-separated, ended by an empty word */
static char reasons[256];

void params_load(void)
{
	long n = slurp("/proc/cmdline", words, sizeof words - 1);

	for (long i = 0; i < n; i++)
		if (words[i] == ' ' || words[i] == '\t' || words[i] == '\n')
			words[i] = 0;
	words[n > 0 ? n + 1 : 1] = 0;
}

static const char *next_word(const char *w)
{
	const char *end = words + sizeof words;

	w = w ? w + length(w) + 1 : words;
	/* Any number of blanks is between words, and zeroes are behind the last one. */
	while (w < end && !*w)
		w++;
	return w < end ? w : NULL;
}

const char *param(const char *name, unsigned occurrence)
{
	size_t n = length(name);

	for (const char *w = next_word(NULL); w; w = next_word(w))
		if (starts(w, name) && (w[n] == 0 || w[n] == '=') && !occurrence--)
			return w[n] ? w + n + 1 : w + n;
	return NULL;
}

uint64_t param_number(const char *name, uint64_t otherwise)
{
	const char *value = param(name, 0);
	uint64_t v;

	return value && number(&value, &v) ? v : otherwise;
}

/* Module names use - and _ alike. */
static bool same_module(const char *word, const char *module, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char a = word[i] == '-' ? '_' : word[i], b = module[i] == '-' ? '_' : module[i];

		if (a != b)
			return false;
	}
	return word[n] == '.';
}

void module_options(const char *module, char *to, size_t n)
{
	size_t len = length(module), at = 0;

	to[0] = 0;
	for (const char *w = next_word(NULL); w; w = next_word(w)) {
		if (!same_module(w, module, len))
			continue;
		if (at)
			copy(to + at, n - at, " ");
		at += length(to + at);
		copy(to + at, n - at, w + len + 1);
		at += length(to + at);
	}
}

void failed(const char *reason)
{
	size_t at = length(reasons);

	if (at)
		copy(reasons + at, sizeof reasons - at, ",");
	at = length(reasons);
	copy(reasons + at, sizeof reasons - at, reason);
}

const char *failures(void)
{
	return reasons;
}
