/* Members that leave. Invariant: a member is fenced before its slots go to others. Thread: head. */
#ifndef DP_SERVER_TALK_LEAVE_H
#define DP_SERVER_TALK_LEAVE_H

struct head;
struct member;

/* The member is gone: its token is void, and NEWS_LEFT tells. */
void head_fence(struct head *head, struct member *member, const char *reason);
/* The same of one that did not say goodbye: the log warns, with a text that says more than the reason. */
void head_lose(struct head *head, struct member *member, const char *reason, const char *text);
/* Its connection is gone. */
void head_lose_unconnected(struct head *head, struct member *member);

#endif
