/* Faults on order: what goes wrong next, told by another process in a page of shared memory. See faults.c. */
#ifndef FAULTS_H
#define FAULTS_H

/* A write to a file below the root begins: 0, or the errno with which it is to fail. */
int faults_on_write(void);

/* A flush of a file below the root begins: takes its time; 0, or the errno with which it is to fail. */
int faults_on_flush(void);

#endif
