/* What wss:// needs before anything is dialled. */
#ifndef TIDEGATE_WSS_H
#define TIDEGATE_WSS_H

#include "dialer.h"
#include "text.h"

/* Reads the authorities, if the URL is wss://, and says aloud what is not checked. 0, or a negative
 * errno with one line for people. */
int wss_prepare(struct dialer_config *config, struct text *problem);

/* Reads them again, for what is dialled from now on. 0, or as above, with nothing changed. */
int wss_reload(struct dialer_config *config, struct text *problem);

/* After all that was dialled with it is gone. */
void wss_forget(struct dialer_config *config);

#endif
