/* What a disk would hold after a power cut: a shadow of each file as last flushed.
 *
 * shadow.c keeps it; interpose.c tells it what the program does. See shadow.c for the layout and the rules.
 */
#ifndef SHADOW_H
#define SHADOW_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/* A file below the root; NULL stands for every other descriptor. */
struct inode;

/* Whether a root is set: without one the library only forwards. */
bool shadow_is_on(void);

/* The tracked file behind fd. */
struct inode *shadow_of(int fd);

/* A path was opened: `existed` as it was before, `truncated` when the open emptied it. */
void shadow_opened(int fd, bool existed, bool truncated);

/* Bytes [at, at + length) may have changed. To be called after the change and before the caller learns of it. */
void shadow_dirty(struct inode *inode, off_t at, off_t length);

/* The size was set: what lay beyond it is gone, even if the file grows again. */
void shadow_truncated(struct inode *inode, off_t size);

/* fd is about to be flushed: its bytes, or its names if it is a directory, reach the shadow. Before
 * the real flush, so that what others write during it is not taken for flushed. */
void shadow_flushed(int fd);

/* Whether fd is a file or a directory below the root. */
bool shadow_follows(int fd);

/* A flush of fd failed: as Linux has it, what it should have made durable is not tried again by later ones. */
void shadow_dropped(int fd);

/* Whether flushes of fd are to be answered without being done (POWERLOSS_LIE_PATTERN). */
bool shadow_lies(int fd);

/* The name at path (below dir) is about to go, or to be replaced; `gone` tells whether it then did. */
struct inode *shadow_named(int dir, const char *path);
void shadow_forgotten(struct inode *inode, bool gone);

/* A directory was made. */
void shadow_made_directory(int dir, const char *path);

/* Ends the process: the program did something that the shadow cannot follow. */
void shadow_refuse(const char *what);

#endif
