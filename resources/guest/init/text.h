/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings, numbers, small files and the report lines on the console.
 *
 * A report line is collected by out_*() and written with one write(2) by
 * out_end(), so that it reaches the console whole.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

size_t length(const char *s);
bool same(const char *a, const char *b);
bool starts(const char *s, const char *prefix);
/* Copies s, cut to fit n bytes with the final zero; tells whether it fitted. */
bool copy(char *to, size_t n, const char *s);
/* Joins up to four parts into a path. */
const char *path(char *to, size_t n, const char *a, const char *b, const char *c, const char *d);

/* Reads a decimal or 0x number at *s and moves *s past it; false if there is none. */
bool number(const char **s, uint64_t *value);
/* Divides by ten without the compiler's help functions, which i386 would need. */
uint64_t div10(uint64_t value, unsigned *rest);

/* Reads a small file into buf as a string, without a trailing newline; < 0 on error. */
long slurp(const char *file, char *buf, size_t n);
/* Calls each(name, ctx) for every entry of a directory but . and .. */
void list(const char *dir, void (*each)(const char *name, void *ctx), void *ctx);

void out(const char *s);
void out_num(uint64_t value);
void out_int(long value);
void out_hex(uint64_t value, int digits);
void out_end(void);
/* Waits until the console has taken every character. */
void out_drain(void);

/* Milliseconds since boot. */
uint64_t now_ms(void);
void sleep_ms(unsigned ms);

#endif
