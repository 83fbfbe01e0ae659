// The shapes of what goes between the site and the page, for the checker alone: nothing here runs.
//
// The frames and views are chatsite/chat/frames.py's, the page's data chatsite/chat/page_data.py's;
// a test compares the names of their fields, and these unions with the site's codes.

/** @typedef {string} UUID */

/** @typedef {"pending" | "queued" | "running" | "done"} MessageState */
/** @typedef {"" | "stop" | "length" | "cancelled" | "failed" | "interrupted"} FinishReason */
/** @typedef {"pending" | "queued" | "loading" | "prefill" | "recovering"} PhaseName */

// --- page -> site --------------------------------------------------------------------------------

/**
 * @typedef {object} Send
 * @property {"send"} type
 * @property {UUID} question
 * @property {UUID} answer
 * @property {UUID} request
 * @property {string} text
 * @property {UUID | null} conversation
 * @property {UUID | null} parent
 * @property {string} model
 * @property {string} preset
 */

/**
 * @typedef {object} Regenerate
 * @property {"regenerate"} type
 * @property {UUID} answer
 * @property {UUID} request
 * @property {UUID} message
 * @property {string} model
 * @property {string} preset
 */

/**
 * @typedef {object} Continue
 * @property {"continue"} type
 * @property {UUID} request
 * @property {UUID} message
 */

/**
 * @typedef {object} Stop
 * @property {"stop"} type
 * @property {UUID} message
 */

/**
 * @typedef {object} Watch
 * @property {"watch"} type
 * @property {UUID} request
 * @property {number} position
 */

/**
 * @typedef {object} Unwatch
 * @property {"unwatch"} type
 * @property {UUID} request
 */

/**
 * @typedef {object} Painted
 * @property {"painted"} type
 * @property {UUID} request
 * @property {number} first_paint_us
 * @property {number} last_paint_us
 */

/**
 * @typedef {object} Ping
 * @property {"ping"} type
 */

/** @typedef {Send | Regenerate | Continue} Ask A frame that an answer comes of */
/** @typedef {Ask | Stop | Watch | Unwatch | Painted | Ping} Incoming */

// --- site -> page --------------------------------------------------------------------------------

/**
 * @typedef {object} ConversationView
 * @property {UUID} id
 * @property {string} title
 * @property {string} updated_at
 * @property {string} created_at
 * @property {string} model
 * @property {string} preset
 * @property {UUID | null} active_leaf
 * @property {boolean} is_writing
 */

/**
 * @typedef {object} MessageView
 * @property {UUID} id
 * @property {UUID | null} parent
 * @property {"user" | "assistant"} role
 * @property {string} text
 * @property {MessageState} state
 * @property {FinishReason} finish_reason
 * @property {string} error_code
 * @property {string} error_text
 * @property {UUID | null} request
 * @property {number} position
 * @property {string} model
 * @property {string} preset
 * @property {string} created_at
 * @property {number} trimmed_messages
 * @property {Figures | null} figures
 */

/**
 * @typedef {object} Segment
 * @property {"web" | "queue" | "prefill" | "decode" | "recovery"} kind
 * @property {number} start_ms
 * @property {number} length_ms
 */

/**
 * The figures that the page shows, of those that the site sends. Null: not reached.
 * @typedef {object} Figures
 * @property {number | null} ttft_ms
 * @property {number | null} tpot_ms
 * @property {number | null} decode_ms
 * @property {number | null} recovery_ms
 * @property {number | null} latency_ms
 * @property {number | null} user_ttft_ms
 * @property {number | null} user_latency_ms
 * @property {number | null} delivery_ms
 * @property {number | null} decode_tokens_per_s
 * @property {number | null} roofline
 * @property {Segment[]} segments
 * @property {number | null} prompt_tokens
 * @property {number | null} cached_tokens
 * @property {number | null} completion_tokens
 * @property {number | null} batch_mean
 * @property {number} attempts
 * @property {boolean} is_exact
 * @property {string} dtype
 * @property {string} device
 * @property {string} model
 * @property {string} preset
 */

/**
 * @typedef {object} Welcome
 * @property {"welcome"} type
 * @property {number} version
 * @property {string} user
 * @property {string[] | null} served
 * @property {boolean} is_disk_low
 */

/**
 * @typedef {object} Serving
 * @property {"serving"} type
 * @property {string[] | null} served
 * @property {boolean} is_disk_low
 */

/**
 * @typedef {object} Accepted
 * @property {"accepted"} type
 * @property {UUID} request
 * @property {ConversationView} conversation
 * @property {MessageView[]} messages
 */

/**
 * @typedef {object} Phase
 * @property {"phase"} type
 * @property {UUID} request
 * @property {PhaseName} phase
 * @property {number} place
 * @property {number} done
 * @property {number} total
 */

/**
 * @typedef {object} Delta
 * @property {"delta"} type
 * @property {UUID} request
 * @property {number} position
 * @property {number} count
 * @property {string} text
 * @property {number} offset
 */

/**
 * @typedef {object} Ended
 * @property {"ended"} type
 * @property {UUID} request
 * @property {MessageView} message
 */

/**
 * @typedef {object} Changed
 * @property {"changed"} type
 * @property {UUID} conversation
 * @property {boolean} deleted
 * @property {ConversationView | null} view
 */

/**
 * @typedef {object} Refused
 * @property {"error"} type
 * @property {string} code
 * @property {string} text
 * @property {string} field
 * @property {UUID | null} request
 */

/**
 * @typedef {object} Pong
 * @property {"pong"} type
 */

/** @typedef {Welcome | Serving | Accepted | Phase | Delta | Ended | Changed | Refused | Pong} Outgoing */

// --- in the page ---------------------------------------------------------------------------------

/**
 * @typedef {object} Model
 * @property {string} slug
 * @property {string} name
 * @property {string} description
 * @property {boolean} is_default
 * @property {string | null} default_preset
 * @property {number | null} context_length
 */

/**
 * @typedef {object} Preset
 * @property {string} slug
 * @property {string} name
 * @property {string} description
 * @property {boolean} is_default
 */

/**
 * @typedef {object} PageData
 * @property {number} version
 * @property {{ name: string, is_staff: boolean }} user
 * @property {UUID | null} conversation
 * @property {string} title
 * @property {Model[]} models
 * @property {Preset[]} presets
 * @property {{ text_chars: number, title_chars: number }} limits
 * @property {Record<"signed_out" | "frame_too_big", number>} close_codes
 * @property {FinishReason[]} continuable
 */

/** @typedef {{ model: string, preset: string }} Choice */

/**
 * A message as the page has it: "sending" until the site has accepted what it comes of; a stub until
 * its text has been fetched.
 * @typedef {Omit<MessageView, "state"> & { state: MessageState | "sending", isStub?: boolean }} Message
 */

/** @typedef {[start: number, end: number][]} Marks where the words of a search stand in a text */

/**
 * @typedef {object} Found what a search has found in a conversation
 * @property {Marks} title_marks
 * @property {UUID | null} hit the message
 * @property {string} snippet
 * @property {Marks} snippet_marks
 */

/** @typedef {ConversationView & Partial<Found> & { has_news?: boolean }} SidebarItem */

/** @typedef {{ first: number, last: number }} PaintStamps ms from the moment of sending */

/** @typedef {"copy" | "edit" | "regenerate" | "choose-again" | "continue" | "figures" | "previous" | "next"} Action */

export {};
