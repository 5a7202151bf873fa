/* SPDX-License-Identifier: MIT */
/* The parts of the page that are the same in every run. */
#ifndef PLAYGROUND_PAGE_TEXT_H
#define PLAYGROUND_PAGE_TEXT_H

extern const char page_head[];        /* up to the style sheet */
extern const char page_style_base[];  /* its first part */
extern const char page_style_parts[]; /* the rest, up to and with <body> and the title */
extern const char page_intro[];       /* two sentences below the conclusion */
extern const char page_index[];       /* links to the parts, up to those to the rows */
extern const char page_waits[];       /* before the chart of threads and what is in flight */
extern const char page_costs[];       /* before the two small charts */
extern const char page_times[];       /* before the chart of times */
extern const char page_latencies[];   /* before the chart of latencies */
extern const char page_table[];       /* before the table */
extern const char page_rows[];        /* before the rows, one by one */
extern const char page_foot[];        /* after everything */

#endif
